"""The Open Inference Protocol over a real channel, on models with and without a card."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from tests.service import plain_graphs
from tests.service.calls import Calls, failure, infer_request, numbers
from tests.service.conftest import Serve, add_plain


async def test_live_ready_and_metadata(calls: Calls) -> None:
    assert (await calls.inference.ServerLive(pb.ServerLiveRequest())).live
    assert (await calls.inference.ServerReady(pb.ServerReadyRequest())).ready
    server = await calls.inference.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, server.version) == ("menagerie", "0.1.0")


async def test_model_ready_is_never_an_error_for_unknown_models(calls: Calls) -> None:
    async def ready(name: str, version: str = "") -> bool:
        return bool((await calls.inference.ModelReady(pb.ModelReadyRequest(name=name, version=version))).ready)

    assert await ready("shades")
    assert await ready("affine", "1")
    assert not await ready("nobody")
    assert not await ready("affine", "2")


async def test_model_metadata(calls: Calls) -> None:
    image = await calls.inference.ModelMetadata(pb.ModelMetadataRequest(name="shades"))
    assert (image.name, list(image.versions), image.platform) == ("shades", ["1"], "onnxruntime_onnx")
    assert [(i.name, i.datatype, list(i.shape)) for i in image.inputs] == [("image", "UINT8", [-1, 8, 8, 3])]
    assert [o.name for o in image.outputs] == ["probabilities", "logits"]
    single = await calls.inference.ModelMetadata(pb.ModelMetadataRequest(name="single-row"))
    assert list(single.inputs[0].shape) == [-1, 3], "rows are run one by one"
    fixed = await calls.inference.ModelMetadata(pb.ModelMetadataRequest(name="four-rows"))
    assert list(fixed.inputs[0].shape) == [4, 3]


async def test_raw_tensors_of_a_plain_model(calls: Calls) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    response = await calls.inference.ModelInfer(infer_request("affine", {"x": x}))
    assert (response.model_name, response.model_version, response.id) == ("affine", "1", "42")
    np.testing.assert_array_equal(numbers(response)["y"], 2 * x + 1)


async def test_typed_contents(calls: Calls) -> None:
    request = pb.ModelInferRequest(model_name="weighted-sum")
    request.inputs.add(name="a", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([0.5, 1.5])
    request.inputs.add(name="b", datatype="INT64", shape=[1, 2]).contents.int64_contents.extend([10, -20])
    outputs = numbers(await calls.inference.ModelInfer(request))
    assert list(outputs) == ["sum", "difference"]
    assert outputs["sum"].tolist() == [[10.5, -18.5]]


async def test_typed_contents_keep_every_bit(serve: Serve, tmp_path: Path) -> None:
    """Of numbers beyond an INT64 numpy makes floats, unless it is told what they are."""
    add_plain(tmp_path, "large", plain_graphs.echo("UINT64"))
    calls = await serve(tmp_path)
    request = pb.ModelInferRequest(model_name="large")
    values = [1, 2**64 - 1, 2**63 + 1, 0]
    request.inputs.add(name="x", datatype="UINT64", shape=[2, 2]).contents.uint64_contents.extend(values)
    outputs = numbers(await calls.inference.ModelInfer(request))
    assert outputs["y"].ravel().tolist() == values


async def test_outputs_come_in_the_order_of_the_request(calls: Calls) -> None:
    tensors = {"b": np.ones((1, 2), np.int64), "a": np.zeros((1, 2), np.float32)}
    outputs = numbers(await calls.inference.ModelInfer(infer_request("weighted-sum", tensors, ["difference", "sum"])))
    assert list(outputs) == ["difference", "sum"]
    only = numbers(await calls.inference.ModelInfer(infer_request("weighted-sum", tensors, ["difference"])))
    assert list(only) == ["difference"]


async def test_a_carded_model_takes_tensors_too(calls: Calls) -> None:
    image = np.full((2, 8, 8, 3), 255, np.uint8)
    outputs = await calls.infer("shades", {"image": image})
    np.testing.assert_allclose(outputs["logits"], [[-4, 4]] * 2, atol=1e-5)


@pytest.mark.parametrize("typed", [True, False])
async def test_strings(calls: Calls, *, typed: bool) -> None:
    words = ["", "a\0b", "한국어", "x" * 300]
    request = pb.ModelInferRequest(model_name="words")
    tensor = request.inputs.add(name="x", datatype="BYTES", shape=[2, 2])
    if typed:
        tensor.contents.bytes_contents.extend(word.encode() for word in words)
    else:
        request.raw_input_contents.append(_bytes_tensor(words))
    response = await calls.inference.ModelInfer(request)
    assert response.outputs[0].datatype == "BYTES"
    assert response.raw_output_contents[0] == _bytes_tensor(words)


@pytest.mark.parametrize("datatype", [name for name in plain_graphs.ONNX_TYPES if name not in ("BYTES", "BF16")])
async def test_every_datatype_comes_back_as_it_went(serve: Serve, tmp_path: Path, datatype: str) -> None:
    add_plain(tmp_path, "echo", plain_graphs.echo(datatype))
    calls = await serve(tmp_path)
    values = np.array([[0, 1], [1, 0]]).astype(
        {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64"}.get(datatype, datatype.lower())
    )
    if values.dtype.kind in "iu":
        values[0] = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
    outputs = await calls.infer("echo", {"x": values})
    np.testing.assert_array_equal(outputs["y"], values)
    assert outputs["y"].dtype == values.dtype


async def test_bfloat16_comes_raw_and_in_batches(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "brains", plain_graphs.bfloat16())
    calls = await serve(tmp_path)
    request = pb.ModelInferRequest(model_name="brains", raw_input_contents=[_bfloat16([1.5, -2.5, 3.0, 0.0])])
    request.inputs.add(name="x", datatype="BF16", shape=[2, 2])
    for response in await asyncio.gather(*(calls.inference.ModelInfer(request) for _ in range(8))):
        assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BF16", [2, 2])
        assert response.raw_output_contents[0] == _bfloat16([3.0, -5.0, 6.0, 0.0])
    request.outputs.add(name="y").parameters["classification"].int64_param = 1
    response = await calls.inference.ModelInfer(request)
    assert response.raw_output_contents[0] == _bytes_tensor(["3.000000:0", "6.000000:0"])
    del request.raw_input_contents[:]
    request.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
    text = "input 'x' for model 'brains' is BF16, which must come in raw_input_contents"
    assert (await failure(calls.inference.ModelInfer(request))).message == text


async def test_nan_of_a_bfloat16_is_refused_too(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "brains", plain_graphs.bfloat16())
    calls = await serve(tmp_path, refuse_nan=True)
    for values, refused in (([1.5, float("inf")], False), ([1.5, float("nan")], True), ([1.5, float("-inf")], False)):
        request = pb.ModelInferRequest(model_name="brains", raw_input_contents=[_bfloat16(values)])
        request.inputs.add(name="x", datatype="BF16", shape=[1, 2])
        if refused:
            assert (await failure(calls.inference.ModelInfer(request))).info.reason == "OUTPUT_NAN"
        else:
            assert (await calls.inference.ModelInfer(request)).raw_output_contents


async def test_classification_labels(calls: Calls) -> None:
    image = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (255, 0)])
    request = infer_request("shades", {"image": image})
    request.outputs.add(name="logits").parameters["classification"].int64_param = 1
    response = await calls.inference.ModelInfer(request)
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BYTES", [2, 1])
    assert response.raw_output_contents[0] == _bytes_tensor(["4.000000:1:bright", "4.000000:0:dark"])
    plain = infer_request("affine", {"x": np.array([[1, 3, 2]], np.float32)})
    plain.outputs.add(name="y").parameters["classification"].int64_param = 9
    response = await calls.inference.ModelInfer(plain)
    assert response.raw_output_contents[0] == _bytes_tensor(["7.000000:1", "5.000000:2", "3.000000:0"])


async def test_a_graph_for_single_rows_serves_batches(calls: Calls) -> None:
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.testing.assert_array_equal((await calls.infer("single-row", {"x": x}))["y"], 2 * x + 1)


async def test_a_scalar_is_a_tensor_too(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "scalar", plain_graphs.affine(()))
    calls = await serve(tmp_path)
    assert (await calls.infer("scalar", {"x": np.float32(4)}))["y"].tolist() == 9


async def test_a_fixed_batch_takes_exactly_its_size(calls: Calls) -> None:
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal((await calls.infer("four-rows", {"x": x}))["y"], 2 * x + 1)
    got = await failure(calls.infer("four-rows", {"x": x[:3]}))
    assert got.message == "unexpected shape for input 'x' for model 'four-rows'. Expected [4,3], got [3,3]"


async def test_a_free_axis_that_is_no_batch_is_never_stacked(calls: Calls) -> None:
    answers = await asyncio.gather(*(calls.infer("running-sum", {"x": np.full(3, n, np.float32)}) for n in range(1, 9)))
    assert [answer["y"].tolist() for answer in answers] == [[n, 2 * n, 3 * n] for n in range(1, 9)]


async def test_a_request_larger_than_a_batch_is_answered_whole(serve: Serve) -> None:
    calls = await serve(max_batch_size=4, max_items_per_request=10)
    x = np.arange(30, dtype=np.float32).reshape(10, 3)
    np.testing.assert_array_equal((await calls.infer("affine", {"x": x}))["y"], 2 * x + 1)
    got = await failure(calls.infer("affine", {"x": np.ones((11, 3), np.float32)}))
    assert got.message == "inference request batch-size must be <= 10 for 'affine'"


async def test_parameters(calls: Calls) -> None:
    request = infer_request("affine", {"x": np.ones((1, 3), np.float32)})
    request.parameters["priority"].uint64_param = 1
    request.parameters["timeout"].int64_param = 5_000_000
    request.parameters["headers-of-mine"].string_param = "passed over"
    assert (await calls.inference.ModelInfer(request)).outputs
    request.parameters["timeout"].string_param = "soon"
    got = await failure(calls.inference.ModelInfer(request))
    assert got.message == "parameter 'timeout' must be int64_param or uint64_param, got string_param"
    assert "parameters[timeout]" in got.violations
    request = infer_request("affine", {"x": np.ones((1, 3), np.float32)})
    request.parameters["triton_wonder"].bool_param = True
    assert (await failure(calls.inference.ModelInfer(request))).message == "parameter 'triton_wonder' is not supported"


async def test_priorities(serve: Serve) -> None:
    calls = await serve(max_batch_size=1, compute_threads=1)
    finished: list[str] = []

    async def ask(name: str, rounds: int, priority: int) -> None:
        request = infer_request("busy", {"rounds": np.array([[rounds]], np.int64)})
        request.parameters["priority"].uint64_param = priority
        await calls.inference.ModelInfer(request)
        finished.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask("running", 300_000, 0))
        await asyncio.sleep(0.05)
        for name, priority in {"third": 3, "default": 0, "out of range": 99, "second": 2, "first": 1}.items():
            group.create_task(ask(name, 1, priority))
            await asyncio.sleep(0.01)
    assert finished == ["running", "first", "default", "out of range", "second", "third"]


async def test_a_negative_priority_is_refused(calls: Calls) -> None:
    request = infer_request("affine", {"x": np.ones((1, 3), np.float32)})
    request.parameters["priority"].int64_param = -1
    got = await failure(calls.inference.ModelInfer(request))
    assert got.message == "parameter 'priority' is -1; send a positive number"


async def test_a_timeout_in_the_request_is_kept(calls: Calls) -> None:
    request = infer_request("busy", {"rounds": np.array([[200_000_000]], np.int64)})
    request.parameters["timeout"].int64_param = 50_000
    got = await failure(calls.inference.ModelInfer(request))
    assert (got.code, got.info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXPIRED")


def _bytes_tensor(words: list[str]) -> bytes:
    return b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in words)


def _bfloat16(values: list[float]) -> bytes:
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
