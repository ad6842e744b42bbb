"""Whatever comes in, the server stays up and answers with a typed error: made-up messages of every RPC, made-up bytes
in their place, made-up bytes on its ports.

A process of its own, so that its log can be searched for bugs and its death be seen. The examples are the same on every
run; FUZZ_EXAMPLES=1000 tries more of them, other ones each time.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import grpc_service_pb2
from menagerie.v1 import model_service_pb2, prediction_service_pb2
from service.client.health import is_serving
from tests import cards, graphs
from tests.service import plain_graphs
from tests.service.calls import picture
from tests.service.conftest import add_plain
from tests.service.processes import Process, running
from zoo.repository import publish

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
SECONDS = 20.0

FILES = (prediction_service_pb2, model_service_pb2, grpc_service_pb2, health_pb2)
RPCS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

MODELS = ("shades", "moods", "load", "affine", "lookup", "words", "weighted-sum")
TENSORS = ("x", "y", "a", "b", "index", "image", "text", "history", "probabilities", "forecast")
PICTURE = picture(99)
text = st.text(max_size=20)
integers64 = st.sampled_from([0, 1, -1, 2, 3, 8, 2**31, 2**62, -(2**63), 2**63 - 1]) | st.integers(-(2**63), 2**63 - 1)

HINTS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from([*MODELS, *TENSORS, "temperature"]) | text,
    "model_name": st.sampled_from(MODELS) | text,
    "version": st.sampled_from([0, 1, 2]) | integers64,
    "model_version": st.sampled_from(["", "1", "2", "x"]) | text,
    "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "UINT8", "FP16", "BOOL"]) | text,
    "shape": st.sampled_from([1, 2, 3]) | integers64,
    "images": st.sampled_from([PICTURE, PICTURE[:40], b""]) | st.binary(max_size=200),
    "raw_input_contents": st.integers(0, 9).map(lambda n: bytes(4 * n)) | st.binary(max_size=64),
    "values": st.floats(width=32),
}
"""What is likely to get past the first check, by the name of the field."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server with every RPC enabled; afterwards it must have found no bug in itself."""
    folder = tmp_path_factory.mktemp("fuzzed")
    publish(graphs.image_graph(), cards.image_card(), folder, "shades")
    publish(graphs.text_graph(), cards.text_card(), folder, "moods")
    publish(graphs.forecast_graph(), cards.forecast_card(), folder, "load")
    made = {"affine": plain_graphs.affine(), "lookup": plain_graphs.lookup(), "words": plain_graphs.echo("BYTES")}
    for name, data in {**made, "weighted-sum": plain_graphs.weighted_sum(), "spare": plain_graphs.affine()}.items():
        add_plain(folder, name, data)
    with running(f"--repository={folder}", "--control-mode=explicit", "--load-model=*", "--admin") as process:
        process.wait_for("8 of 8 models ready")
        yield process
        assert process.process.poll() is None, "the server died"
        assert is_serving(process.address)
        assert not [line for line in process.lines if "bug" in line or "Traceback" in line]


@pytest.fixture(scope="module")
def channel(server: Process) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as found:
        yield found


def messages(descriptor: Descriptor, names: Sequence[str] = (), depth: int = 0) -> st.SearchStrategy[Message]:
    """Messages of a type, any field set or not."""
    fields = {
        field.name: _values(field, names, depth)
        for field in descriptor.fields
        if depth < 3 or field.type != FieldDescriptor.TYPE_MESSAGE
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: _fill(descriptor, values))


def _fill(descriptor: Descriptor, values: dict[str, Any]) -> Message:
    return GetMessageClass(descriptor)(**values)  # a map takes a dict, a list takes a list


def _values(field: FieldDescriptor, names: Sequence[str], depth: int) -> st.SearchStrategy[Any]:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        keys = st.sampled_from(["sequence_id", "priority", "timeout", "classification", "triton_x", "config"]) | text
        return st.dictionaries(keys, _single(entry.fields_by_name["value"], names, depth), max_size=3)
    one = _single(field, names, depth)
    return st.lists(one, max_size=4) if field.is_repeated else one


def _single(field: FieldDescriptor, names: Sequence[str], depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, names, depth + 1)
    if names and field.name == "model_name":
        return st.sampled_from(names) | text
    kind = field.cpp_type
    if field.name == "version" and kind == FieldDescriptor.CPPTYPE_STRING:
        return HINTS["model_version"]
    if field.name in HINTS and kind not in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_INT32):
        return HINTS[field.name]
    return {
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1) | st.integers(0, 5),
        FieldDescriptor.CPPTYPE_INT64: integers64,
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1) | st.integers(0, 5),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1) | st.integers(0, 5),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_ENUM: st.integers(-1, 8),
        FieldDescriptor.CPPTYPE_STRING: st.binary(max_size=50) if field.type == FieldDescriptor.TYPE_BYTES else text,
    }[kind]


def call(channel: grpc.Channel, path: str, requests: Sequence[bytes]) -> None:
    """Send messages to an RPC; what comes back must be answers, or a typed error."""
    method = RPCS[path]
    try:
        if not method.client_streaming and not method.server_streaming:
            channel.unary_unary(path)(requests[0], timeout=SECONDS)
            return
        answers = channel.stream_stream(path)(iter(requests), timeout=SECONDS)
        if path.endswith("/Watch"):
            next(answers)
            answers.cancel()
            return
        for _ in answers:
            pass
    except grpc.RpcError as exc:
        check(path, exc)


def check(path: str, error: Any) -> None:
    """A failure must be one that the server meant."""
    found = [value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"]
    if path.startswith("/grpc.health"):
        assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT), error
        return
    assert found, f"{path}: {error.code()} {error.details()} is not typed"
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status_pb2.Status.FromString(found[0]).details)
    assert info.reason != "UNEXPECTED", error.details()
    expected = {"INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED",
                "FAILED_PRECONDITION", "DEADLINE_EXCEEDED"}  # fmt: skip
    if error.code().name not in expected:
        assert info.reason in ("INFERENCE_FAILED", "LOAD_FAILED"), (error.code(), info.reason)


def names_for(path: str) -> Sequence[str]:
    """The models that an RPC may name: what it unloads is no loss."""
    return ("spare",) if "RepositoryModel" in path else ()


@pytest.mark.parametrize("path", RPCS)
def test_messages(channel: grpc.Channel, path: str) -> None:
    made = messages(RPCS[path].input_type, names_for(path))

    @bounded
    @given(st.lists(made, min_size=1, max_size=3))
    def fuzz(requests: list[Message]) -> None:
        call(channel, path, [request.SerializeToString() for request in requests])

    fuzz()


@pytest.mark.parametrize("path", [path for path in RPCS if "RepositoryModel" not in path])
def test_bytes_in_the_place_of_messages(channel: grpc.Channel, path: str) -> None:
    @bounded
    @given(st.lists(st.binary(max_size=300), min_size=1, max_size=3))
    def fuzz(requests: list[bytes]) -> None:
        call(channel, path, requests)

    fuzz()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
frames = st.builds(
    lambda length, *head: struct.pack(">I", length)[1:] + struct.pack(">BBI", *head[:3]) + head[3],
    *(st.integers(0, 40), st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)),
)
bytes_on_the_port = st.one_of(
    st.binary(max_size=500),
    st.lists(frames, max_size=10).map(lambda parts: PREFACE + SETTINGS + b"".join(parts)),
    st.binary(max_size=100).map(lambda data: b"GET /" + data + b" HTTP/1.1\r\n\r\n"),
)


def _metrics_port(server: Process) -> tuple[str, int]:
    return "127.0.0.1", int(server.wait_for(r"metrics on http://127\.0\.0\.1:(\d+)/")[1])


def _grpc_port(server: Process) -> tuple[str, int]:
    host, _, port = server.address.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("port_of", [_grpc_port, _metrics_port])
def test_bytes_on_the_port(server: Process, port_of: Callable[[Process], tuple[str, int]]) -> None:
    @bounded
    @given(bytes_on_the_port)
    def fuzz(data: bytes) -> None:
        # It may hang up on us at any byte.
        with socket.create_connection(port_of(server), timeout=5) as connection, suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    fuzz()
    assert is_serving(server.address)
    # What peers send does not get into the log, where it could forge lines.
    strange = [line for line in server.lines if not re.match(r"\d{4}-\d\d-\d\d [\d:,]+ (INFO|WARNING|ERROR) ", line)]
    assert not strange, server.lines[-40:]


def test_what_is_fuzzed_is_everything(tmp_path: Path) -> None:
    from service.security.access import ROLES

    assert ROLES.keys() - RPCS.keys() == {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"}
