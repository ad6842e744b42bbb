"""System shared memory: tensors of requests in regions that callers register, and may shorten at any time."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from inference import grpc_service_pb2 as pb
from service.errors import InvalidRegionError
from service.security.tokens import Role
from service.shared_memory import MAX_NAME, MAX_REGIONS, Place, Regions
from tests.service import plain_graphs
from tests.service.calls import Calls, Failure, failure, infer_request, numbers
from tests.service.conftest import Serve, add_plain
from tests.service.steps import step
from tests.service.test_access import TOKENS, bearer, tokens
from tests.service.triton_layout import add_model
from zoo.byte_strings import encode

__all__ = ["tokens"]

FOLDER = Path("/dev/shm")
SIZE = 4096
X = np.arange(6, dtype=np.float32).reshape(2, 3)

SUM = """
    name: "sum"
    platform: "onnxruntime_onnx"
    max_batch_size: 4
    input [ { name: "x" data_type: TYPE_FP32 dims: [ %d ] } ]
    output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
    sequence_batching {
      state [ { input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] } ]
    }
"""
"""A model whose state is the sum of the largest values so far."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="a system without /dev/shm")


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    """Shared memory of a caller's."""
    memory = SharedMemory(create=True, size=SIZE)
    yield memory
    memory.close()
    memory.unlink()


@pytest.fixture
async def sharing(serve: Serve, memory: SharedMemory) -> Calls:
    """A server that has registered that memory as "mine"."""
    calls = await serve(system_shared_memory=True)
    await register(calls, "mine", memory.name)
    return calls


async def register(calls: Calls, name: str, key: str, offset: int = 0, size: int = SIZE, **call: Any) -> None:
    request = pb.SystemSharedMemoryRegisterRequest(name=name, key=key, offset=offset, byte_size=size)
    await calls.inference.SystemSharedMemoryRegister(request, **call)


async def registered(calls: Calls, name: str = "") -> dict[str, tuple[str, int, int]]:
    answer = await calls.inference.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(name=name))
    return {name: (region.key, region.offset, region.byte_size) for name, region in answer.regions.items()}


def held(memory: SharedMemory) -> int:
    """How many files of this process are that memory: the test's own, and those of the server."""
    return sum(os.path.realpath(file) == str(FOLDER / memory.name) for file in Path("/proc/self/fd").iterdir())


async def unregister(calls: Calls, name: str = "") -> None:
    await calls.inference.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name=name))


def share(tensor: Any, size: int, offset: int = 0, region: str = "mine") -> None:
    """Say that a tensor of a request is in shared memory."""
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = size
    if offset:
        tensor.parameters["shared_memory_offset"].int64_param = offset


def put(memory: SharedMemory, data: bytes, offset: int = 0) -> None:
    memory.buf[offset : offset + len(data)] = data


def shared_request(size: int = X.nbytes, offset: int = 0, region: str = "mine") -> pb.ModelInferRequest:
    """A request to the model "affine" for x in shared memory."""
    request = pb.ModelInferRequest(model_name="affine")
    share(request.inputs.add(name="x", datatype="FP32", shape=[2, 3]), size, offset, region)
    return request


async def infer(calls: Calls, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return await calls.inference.ModelInfer(request)


async def refusal(calls: Calls, request: pb.ModelInferRequest) -> Failure:
    return await failure(calls.inference.ModelInfer(request))


async def test_an_input(sharing: Calls, memory: SharedMemory) -> None:
    for offset in (0, 8, 3):  # the last is no place where numbers may stay
        put(memory, X.tobytes(), offset)
        answer = await sharing.inference.ModelInfer(shared_request(offset=offset))
        np.testing.assert_array_equal(numbers(answer)["y"], 2 * X + 1)


async def test_an_output(sharing: Calls, memory: SharedMemory) -> None:
    request = infer_request("affine", {"x": X}, ["y"])
    share(request.outputs[0], 100, offset=64)
    answer = await sharing.inference.ModelInfer(request)
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [2, 3])
    assert list(answer.raw_output_contents) == [b""], "one for each output"
    assert bytes(memory.buf[64:88]) == (2 * X + 1).tobytes()
    assert not any(memory.buf[:64])
    assert not any(memory.buf[88:])


async def test_inputs_and_outputs_mixed_with_raw_and_typed_ones(sharing: Calls, memory: SharedMemory) -> None:
    a, b = np.array([[0.5, 1.5]], np.float32), np.array([[10, -20]])
    for shared, sent in (("a", "b"), ("b", "a")):
        for raw in (True, False):
            request = infer_request("weighted-sum", {"a": a, "b": b}, ["difference", "sum"])
            by_name = {tensor.name: tensor for tensor in request.inputs}
            values = {"a": a, "b": b}
            put(memory, values[shared].tobytes(), 128)
            share(by_name[shared], values[shared].nbytes, 128)
            share(request.outputs[0], 8)
            del request.raw_input_contents[:]
            if raw:
                request.raw_input_contents.append(values[sent].tobytes())
            else:
                field = by_name[sent].contents.fp32_contents if sent == "a" else by_name[sent].contents.int64_contents
                field.extend(values[sent].ravel().tolist())
            answer = await sharing.inference.ModelInfer(request)
            if raw:
                request.raw_input_contents[0] += b"!"
                assert list((await refusal(sharing, request)).violations) == ["raw_input_contents[0]"]
            assert [output.name for output in answer.outputs] == ["difference", "sum"]
            assert list(answer.raw_output_contents) == [b"", np.array([[10.5, -18.5]], np.float32).tobytes()]
            assert np.frombuffer(memory.buf[:8], np.float32).tolist() == [-9.5, 21.5]


async def test_strings(sharing: Calls, memory: SharedMemory) -> None:
    data = encode(np.array(["첫째", "", "third", "4"], dtype=object))
    put(memory, data, 16)
    request = pb.ModelInferRequest(model_name="words")
    share(request.inputs.add(name="x", datatype="BYTES", shape=[2, 2]), len(data), 16)
    share(request.outputs.add(name="y"), 1000, 1024)
    await sharing.inference.ModelInfer(request)
    assert bytes(memory.buf[1024 : 1024 + len(data)]) == data
    put(memory, b"\xff\xff\xff\x7f", 16)
    got = await refusal(sharing, request)
    assert got.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(got.violations) == ["inputs[0].parameters[shared_memory_region]"]


async def test_classes(sharing: Calls, memory: SharedMemory) -> None:
    request = infer_request("affine", {"x": X}, ["y"])
    request.outputs[0].parameters["classification"].int64_param = 1
    share(request.outputs[0], SIZE)
    answer = await sharing.inference.ModelInfer(request)
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("BYTES", [2, 1])
    expected = encode(np.array(["5.000000:2", "11.000000:2"], dtype=object))
    assert bytes(memory.buf[: len(expected)]) == expected


async def test_what_is_large_and_a_region_that_begins_in_the_middle(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "wide", plain_graphs.affine(("batch", 1000)))
    x = np.random.default_rng(0).random((250, 1000), np.float32)
    calls = await serve(tmp_path, system_shared_memory=True)
    large = SharedMemory(create=True, size=3 * x.nbytes)
    try:
        await register(calls, "mine", large.name, offset=x.nbytes, size=2 * x.nbytes)
        put(large, x.tobytes(), x.nbytes)
        request = pb.ModelInferRequest(model_name="wide")
        share(request.inputs.add(name="x", datatype="FP32", shape=x.shape), x.nbytes)
        share(request.outputs.add(name="y"), x.nbytes, x.nbytes)
        for _ in range(3):
            await calls.inference.ModelInfer(request)
        y = np.frombuffer(bytes(large.buf[2 * x.nbytes : 3 * x.nbytes]), np.float32).reshape(x.shape)
        np.testing.assert_array_equal(y, 2 * x + 1)
    finally:
        large.close()
        large.unlink()


async def test_a_stream(sharing: Calls, memory: SharedMemory) -> None:
    async def ask() -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(10):
            put(memory, np.full((2, 3), number, np.float32).tobytes(), 24 * number)
            yield shared_request(offset=24 * number, region="other" if number == 4 else "mine")

    answers = [answer async for answer in sharing.inference.ModelStreamInfer(ask())]
    assert answers[4].error_message == "Unable to find system shared memory region: 'other'"
    got = [float(numbers(answer.infer_response)["y"][0, 0]) for answer in answers if not answer.error_message]
    assert got == [2.0 * number + 1 for number in range(10) if number != 4]


async def test_a_step_that_is_read_from_memory_is_not_overtaken(serve: Serve, tmp_path: Path) -> None:
    width = 2**18  # 1 MiB, which else a thread would read
    nodes = [
        helper.make_node("ReduceMax", ["x", "last"], ["largest"]),
        helper.make_node("Add", ["largest", "before"], ["y"]),
        helper.make_node("Identity", ["y"], ["after"]),
    ]
    row = ("FP32", ("batch", 1))
    inputs, outputs = {"x": ("FP32", ("batch", width)), "before": row}, {"y": row, "after": row}
    last = helper.make_tensor("last", TensorProto.INT64, [1], [1])
    add_model(tmp_path, "sum", SUM % width, plain_graphs.make_model(nodes, inputs, outputs, [last]))
    calls = await serve(tmp_path, system_shared_memory=True)
    ones = np.ones((1, width), np.float32)
    large = SharedMemory(create=True, size=ones.nbytes)
    put(large, ones.tobytes())

    async def ask() -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(6):
            request = step("sum", {"x": ones}, 7, start=number == 0)
            if number % 2 == 0:
                share(request.inputs[0], ones.nbytes)
                del request.raw_input_contents[:]
            yield request

    try:
        await register(calls, "mine", large.name, size=ones.nbytes)
        answers = [answer async for answer in calls.inference.ModelStreamInfer(ask())]
        assert not [answer.error_message for answer in answers if answer.error_message]
        assert [float(numbers(answer.infer_response)["y"][0, 0]) for answer in answers] == [1, 2, 3, 4, 5, 6]
    finally:
        large.close()
        large.unlink()


async def test_regions_are_listed_and_forgotten(sharing: Calls, memory: SharedMemory) -> None:
    await register(sharing, "second", f"/{memory.name}", offset=8, size=16)
    first, second = (memory.name, 0, SIZE), (f"/{memory.name}", 8, 16)
    assert await registered(sharing) == {"mine": first, "second": second}
    assert await registered(sharing, "second") == {"second": second}
    got = await failure(register(sharing, "second", memory.name))
    assert (got.code, got.info.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REGION_EXISTS")
    assert got.message == "shared memory region 'second' already in manager"
    await unregister(sharing, "nobody")
    await unregister(sharing, "second")
    assert await registered(sharing) == {"mine": first}
    await unregister(sharing)
    assert await registered(sharing) == {}
    got = await refusal(sharing, shared_request())
    assert (got.code, got.info.reason) == (grpc.StatusCode.NOT_FOUND, "REGION_NOT_FOUND")
    assert got.message == "Unable to find system shared memory region: 'mine'"


async def test_a_region_that_is_forgotten_meanwhile_gets_the_answer(sharing: Calls, memory: SharedMemory) -> None:
    request = pb.ModelInferRequest(model_name="busy")
    rounds = np.array([[400_000]])
    put(memory, rounds.tobytes())
    share(request.inputs.add(name="rounds", datatype="INT64", shape=[1, 1]), 8)
    share(request.outputs.add(name="y"), 4, 64)
    own = held(memory) - 1
    asked = asyncio.create_task(infer(sharing, request))
    await asyncio.sleep(0.05)
    await unregister(sharing)
    assert not asked.done()
    assert held(memory) == own + 1
    await asked
    assert np.frombuffer(memory.buf[64:68], np.float32) == [400_000]
    assert held(memory) == own


async def test_memory_that_became_shorter(sharing: Calls, memory: SharedMemory) -> None:
    reading = shared_request(offset=SIZE - 24)
    writing = infer_request("affine", {"x": X}, ["y"])
    share(writing.outputs[0], 24, SIZE - 24)
    for request in (reading, writing):
        await sharing.inference.ModelInfer(request)
    for length in (SIZE - 1, 10, 0):
        os.truncate(FOLDER / memory.name, length)
        for request in (reading, writing):
            got = await refusal(sharing, request)
            assert (got.code, got.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REGION")
            assert "is not what it was when it was registered" in got.message
        assert (FOLDER / memory.name).stat().st_size == length, "the server does not make it longer"
    os.truncate(FOLDER / memory.name, SIZE)
    await sharing.inference.ModelInfer(reading)
    own = held(memory) - 1
    await unregister(sharing)
    assert held(memory) == own, "what failed keeps nothing"


@pytest.mark.parametrize(
    "key", ["", "/", ".", "..", "/..", "//x", "a/b", "../etc/passwd", "/dev/shm/x", "x\0y", "n" * 256, "nobody-made-it"]
)
async def test_keys_that_are_no_memory(sharing: Calls, key: str) -> None:
    got = await failure(register(sharing, "another", key))
    assert (got.code, got.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REGION")
    assert got.message.startswith(f"Unable to open shared memory region: '{key}'")
    assert list(got.violations) == ["key"]
    assert "another" not in await registered(sharing)


async def test_links_pipes_and_folders_are_not_opened(sharing: Calls, tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.write_bytes(bytes(64))
    path = FOLDER / f"menagerie-test-{uuid.uuid4()}"
    for make in (lambda: path.symlink_to(target), lambda: os.mkfifo(path), path.mkdir):
        make()
        try:
            got = await failure(register(sharing, "another", path.name, size=1))
        finally:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        assert got.message.startswith("Unable to open shared memory region")


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 0), (0, SIZE + 1), (1, SIZE), (SIZE, 1), (2**64 - 1, 1), (1, 2**64 - 1), (2**63, 2**63)]
)
async def test_a_region_must_be_in_its_memory(sharing: Calls, memory: SharedMemory, offset: int, size: int) -> None:
    own = held(memory)
    got = await failure(register(sharing, "another", memory.name, offset, size))
    assert got.info.reason == "INVALID_REGION"
    assert got.message.startswith("failed to register shared memory region 'another': invalid args")
    assert held(memory) == own, "what was refused is closed"


async def test_a_tensor_must_be_in_its_region(sharing: Calls) -> None:
    for offset in (SIZE - 23, SIZE, 2**63 - 1):
        got = await refusal(sharing, shared_request(offset=offset))
        assert got.info.reason == "INVALID_REGION"
        assert got.message.startswith("Invalid offset + byte size for shared memory region: 'mine'")
    got = await refusal(sharing, shared_request(size=20))
    assert got.message == "input byte size mismatch for input 'x' for model 'affine'. Expected 24, got 20"
    request = infer_request("affine", {"x": X}, ["y"])
    share(request.outputs[0], 23)
    got = await refusal(sharing, request)
    assert got.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "for output 'y' (23 bytes) should be at least 24 bytes to hold the results" in got.message


async def test_parameters_that_do_not_fit_together(sharing: Calls) -> None:
    async def text(change: Any) -> str:
        request = shared_request()
        change(request, request.inputs[0].parameters)
        got = await refusal(sharing, request)
        assert got.code is grpc.StatusCode.INVALID_ARGUMENT
        return got.message

    both = "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'x'"
    assert await text(lambda _, given: given.pop("shared_memory_byte_size")) == both
    alone = "'shared_memory_byte_size' can not be specified without 'shared_memory_region' parameter for tensor 'x'"
    assert await text(lambda _, given: given.pop("shared_memory_region")) == alone
    for name, kind, value in (
        ("shared_memory_region", "int64_param", 1),
        ("shared_memory_byte_size", "string_param", "24"),
        ("shared_memory_offset", "bool_param", True),
    ):
        got = await text(lambda _, given, name=name, kind=kind, value=value: setattr(given[name], kind, value))
        assert got.startswith(f"invalid value type for '{name}' parameter for tensor 'x', expected ")
    negative = await text(lambda _, given: setattr(given["shared_memory_offset"], "int64_param", -1))
    assert negative == "'shared_memory_offset' of tensor 'x' is -1; send a positive number"
    twice = await text(lambda request, _: request.inputs[0].contents.fp32_contents.extend(range(6)))
    assert twice == "unexpected 'content' provided when using shared memory for input tensor 'x' for model 'affine'"
    surplus = await text(lambda request, _: request.raw_input_contents.append(X.tobytes()))
    assert "got 1 raw_input_contents for 0 inputs" in surplus


async def test_shared_inputs_count_among_the_bytes_of_requests(serve: Serve) -> None:
    calls = await serve(system_shared_memory=True, max_message_mib=1, max_inflight_mib=1)
    large = SharedMemory(create=True, size=2 * 2**20)
    try:
        await register(calls, "mine", large.name, size=2 * 2**20)
        # Together with the message itself, one MiB is more than may be in flight.
        for size, reason in ((2**20 + 1, "MESSAGE_TOO_LARGE"), (2**20, "TOO_MANY_BYTES")):
            for _ in range(3):
                got = await refusal(calls, shared_request(size=size))
                assert (got.code, got.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
        got = await refusal(calls, shared_request(size=2**20 - 1000))
        assert got.info.reason == "INVALID_TENSOR", "what was refused is given back"
    finally:
        large.close()
        large.unlink()


async def test_too_many_regions(sharing: Calls, memory: SharedMemory) -> None:
    own = held(memory) - 1
    for number in range(MAX_REGIONS - 1):
        await register(sharing, f"region {number}", memory.name)
    got = await failure(register(sharing, "one more", memory.name))
    assert (got.code, got.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REGIONS")
    await unregister(sharing, "region 0")
    await register(sharing, "one more", memory.name)
    assert held(memory) == own + MAX_REGIONS
    await unregister(sharing)
    assert held(memory) == own
    for name in ("", "n" * (MAX_NAME + 1)):
        assert (await failure(register(sharing, name, memory.name))).info.reason == "INVALID_REGION"


async def test_it_is_off_by_default(calls: Calls, memory: SharedMemory) -> None:
    got = await failure(register(calls, "mine", memory.name))
    assert (got.code, got.info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED")
    assert "--system-shared-memory" in got.message
    writing = infer_request("affine", {"x": X}, ["y"])
    share(writing.outputs[0], 24)
    for request in (shared_request(), writing):
        got = await refusal(calls, request)
        assert got.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "--system-shared-memory" in got.message
    await unregister(calls)
    assert await registered(calls) == {}


async def test_with_tokens_only_admins_register(serve: Serve, tokens: Path, memory: SharedMemory) -> None:
    calls = await serve(system_shared_memory=True, tokens=tokens)
    for role in (Role.PREDICT, Role.READ):
        got = await failure(register(calls, "mine", memory.name, metadata=bearer(TOKENS[role])))
        assert got.info.reason == "ROLE_MISSING"
    await register(calls, "mine", memory.name, metadata=bearer(TOKENS[Role.ADMIN]))
    put(memory, X.tobytes())
    answer = await calls.inference.ModelInfer(shared_request(), metadata=bearer(TOKENS[Role.PREDICT]))
    assert numbers(answer)["y"].any()


SIZES = st.one_of(st.integers(0, 200), st.integers(0, 2**64 - 1), st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 200))
def test_any_place_is_read_and_written_whole_or_refused(
    memory: SharedMemory, offset: int, size: int, at: int, count: int, left: int
) -> None:
    """With any numbers in the requests, and whatever is left of the memory by then."""
    path = FOLDER / memory.name
    content = bytes(range(100)) * 2
    path.write_bytes(content)
    regions = Regions()
    try:
        regions.register("mine", memory.name, offset, size)
        space = regions.space(Place("x", "inputs[0]", "mine", at, count))
        os.truncate(path, left)
        assert bytes(space.read()) == content[offset + at : offset + at + count]
        space.write(b"!" * count)
        assert offset + at + count <= left
        assert path.read_bytes() == (content[: offset + at] + b"!" * count + content[offset + at + count :])[:left]
    except InvalidRegionError:
        assert not 0 < size <= 200 - offset or at + count > size or offset + at + count > left
