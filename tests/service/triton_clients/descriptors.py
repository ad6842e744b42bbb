"""The messages and RPCs that tritonclient.grpc speaks, one line each: `python descriptors.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PACKAGE = "inference."


def describe(files: list[Any]) -> Iterator[str]:
    """Everything on the wire that these file descriptors define: names, numbers, types."""
    for file in files:
        for message in file.message_types_by_name.values():
            yield from _message(message)
        for enum in file.enum_types_by_name.values():
            yield from _enum(enum)
        for service in file.services_by_name.values():
            for method in service.methods:
                streams = f"{method.client_streaming} {method.server_streaming}"
                yield f"rpc {method.full_name}({method.input_type.name}) {method.output_type.name} {streams}"


def _message(message: Any) -> Iterator[str]:
    for field in message.fields:
        kind = field.message_type or field.enum_type
        what = f"{field.type} {kind.full_name if kind else ''} repeated={field.is_repeated}"
        choice = field.containing_oneof.name if field.containing_oneof else ""
        yield f"{field.full_name} = {field.number} {what} {choice}"
    for nested in message.nested_types:
        yield from _message(nested)
    for enum in message.enum_types:
        yield from _enum(enum)


def _enum(enum: Any) -> Iterator[str]:
    for value in enum.values:
        yield f"{enum.full_name}.{value.name} = {value.number}"


if __name__ == "__main__":
    from tritonclient.grpc import model_config_pb2, service_pb2

    print("\n".join(describe([service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR])))
