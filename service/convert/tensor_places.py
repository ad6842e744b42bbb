"""The tensor API: which tensors of a request are in shared memory, or are wanted there.

Existing clients match the texts of these errors, so they are worded as in the servers that those clients know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inference.grpc_service_pb2 import ModelInferRequest
from service.errors import InvalidTensorError
from service.shared_memory import Place

REGION, _SIZE, _OFFSET = "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"
Tensor = ModelInferRequest.InferInputTensor | ModelInferRequest.InferRequestedOutputTensor


@dataclass(frozen=True)
class Places:
    """Where the tensors of a request are, by their names."""

    inputs: dict[str, Place]
    outputs: dict[str, Place]

    @property
    def first(self) -> Place:
        """One of them."""
        return next(iter((self.inputs or self.outputs).values()))


def read_places(request: ModelInferRequest) -> Places | None:
    """Read the parameters of the tensors; None: all come and go with the messages.

    Raises:
        InvalidTensorError: one of the parameters is missing, or of another type, or negative.
    """
    inputs, outputs = _places("inputs", request.inputs), _places("outputs", request.outputs)
    return Places(inputs, outputs) if inputs or outputs else None


def _places(field: str, tensors: Iterable[Tensor]) -> dict[str, Place]:
    found = ((tensor.name, _place(f"{field}[{index}]", tensor)) for index, tensor in enumerate(tensors))
    return {name: place for name, place in found if place}


def _place(field: str, tensor: Tensor) -> Place | None:
    if REGION not in tensor.parameters:
        for name in (_SIZE, _OFFSET):
            if name in tensor.parameters:
                text = f"'{name}' can not be specified without '{REGION}' parameter for tensor '{tensor.name}'"
                raise InvalidTensorError(f"{field}.parameters[{name}]", text)
        return None
    if _SIZE not in tensor.parameters:
        text = f"'{_SIZE}' must be specified along with '{REGION}' parameter for tensor '{tensor.name}'"
        raise InvalidTensorError(f"{field}.parameters[{_SIZE}]", text)
    if tensor.parameters[REGION].WhichOneof("parameter_choice") != "string_param":
        raise _mistyped(field, tensor, REGION, "string_param")
    region, size = tensor.parameters[REGION].string_param, _number(field, tensor, _SIZE)
    offset = _number(field, tensor, _OFFSET) if _OFFSET in tensor.parameters else 0
    return Place(tensor.name, f"{field}.parameters[{_SIZE}]", region, offset, size)


def _number(field: str, tensor: Tensor, name: str) -> int:
    kind = tensor.parameters[name].WhichOneof("parameter_choice")
    if kind not in ("int64_param", "uint64_param"):
        raise _mistyped(field, tensor, name, "int64_param")
    value: int = getattr(tensor.parameters[name], kind)
    if value < 0:
        text = f"'{name}' of tensor '{tensor.name}' is {value}; send a positive number"
        raise InvalidTensorError(f"{field}.parameters[{name}]", text)
    return value


def _mistyped(field: str, tensor: Tensor, name: str, expected: str) -> InvalidTensorError:
    text = f"invalid value type for '{name}' parameter for tensor '{tensor.name}', expected {expected}."
    return InvalidTensorError(f"{field}.parameters[{name}]", text)
