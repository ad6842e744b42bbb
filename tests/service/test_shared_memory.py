"""System shared memory: tensors of requests in regions that callers register."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import grpc
import numpy as np
from onnx import TensorProto, helper

from inference import grpc_service_pb2 as pb
from tests.service import plain_graphs
from tests.service.calls import Calls, failure, infer_request, numbers
from tests.service.conftest import Serve, add_plain
from tests.service.shared_regions import (
    SIZE,
    X,
    held,
    infer,
    memory,
    needs_folder,
    put,
    refusal,
    register,
    registered,
    share,
    shared_request,
    sharing,
    unregister,
)
from tests.service.steps import step
from tests.service.triton_layout import add_model
from zoo.byte_strings import encode

__all__ = ["memory", "sharing"]

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

pytestmark = needs_folder


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
