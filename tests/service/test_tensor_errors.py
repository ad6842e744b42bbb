"""Bad input to the tensor API: the texts that existing clients match, and a model that goes on working."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from tests.service import plain_graphs
from tests.service.calls import Calls, failure, infer_request
from tests.service.conftest import Serve, add_plain


def affine(shape: tuple[int, ...] = (1, 3), datatype: str = "FP32", raw: bytes | None = None) -> pb.ModelInferRequest:
    """A request to the model `affine`, right unless told otherwise."""
    request = pb.ModelInferRequest(model_name="affine")
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    request.raw_input_contents.append(bytes(12) if raw is None else raw)
    return request


def typed(datatype: str = "FP32", **contents: list[object]) -> pb.ModelInferRequest:
    """A request to the model `affine` with typed contents."""
    request = pb.ModelInferRequest(model_name="affine")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[1, 3])
    tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    return request


def changed(change: Callable[[pb.ModelInferRequest], object]) -> pb.ModelInferRequest:
    """The right request to the model `weighted-sum`, changed."""
    request = infer_request("weighted-sum", {"a": np.ones((1, 2), np.float32), "b": np.ones((1, 2), np.int64)})
    change(request)
    return request


def words(raw: bytes, shape: tuple[int, int] = (1, 2)) -> pb.ModelInferRequest:
    """A request to the model `words`, [N, 2] strings."""
    request = pb.ModelInferRequest(model_name="words", raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="BYTES", shape=shape)
    return request


def both_kinds(request: pb.ModelInferRequest) -> None:
    request.inputs[0].contents.fp32_contents.extend([1, 2])


def unequal_batches(request: pb.ModelInferRequest) -> None:
    request.inputs[1].shape[0] = 2
    request.raw_input_contents[1] = bytes(32)


def repeated(request: pb.ModelInferRequest) -> None:
    request.inputs.append(request.inputs[0])


CASES = {
    "version": (
        pb.ModelInferRequest(model_name="affine", model_version="one"),
        "failed to get model version from specified version string 'one'",
        "model_version",
    ),
    "raw and typed": (
        changed(both_kinds),
        "contents field must not be specified when using raw_input_contents for 'a' for model 'weighted-sum'",
        "inputs[0].contents",
    ),
    "surplus raw": (
        changed(lambda request: request.raw_input_contents.append(b"")),
        "model 'weighted-sum' got 3 raw_input_contents for 2 inputs; send one for each",
        "raw_input_contents",
    ),
    "missing raw": (
        changed(lambda request: request.raw_input_contents.pop()),
        "model 'weighted-sum' got 1 raw_input_contents for 2 inputs; send one for each",
        "raw_input_contents",
    ),
    "raw size": (
        affine(raw=bytes(11)),
        "input byte size mismatch for input 'x' for model 'affine'. Expected 12, got 11",
        "raw_input_contents[0]",
    ),
    "rank": (
        affine((3,)),
        "unexpected shape for input 'x' for model 'affine'. Expected [-1,3], got [3]",
        "inputs[0].shape",
    ),
    "axis": (
        affine((1, 4)),
        "unexpected shape for input 'x' for model 'affine'. Expected [-1,3], got [1,4]",
        "inputs[0].shape",
    ),
    "free axis in a request": (
        affine((-1, 3)),
        "unexpected shape for input 'x' for model 'affine'. Expected [-1,3], got [-1,3]",
        "inputs[0].shape",
    ),
    "no rows": (
        affine((0, 3), raw=b""),
        "unexpected shape for input 'x' for model 'affine'. Expected [-1,3], got [0,3]",
        "inputs[0].shape",
    ),
    "overflow": (
        affine((2**62, 3)),
        f"input 'x' for model 'affine' has shape [{2**62},3], which is too large: the limit is 67108864 elements",
        "inputs[0].shape",
    ),
    "batches differ": (
        changed(unequal_batches),
        "input 'b' batch size does not match other inputs for 'weighted-sum': 2, not 1",
        "inputs[1].shape",
    ),
    "too large a batch": (
        affine((257, 3), raw=bytes(257 * 12)),
        "inference request batch-size must be <= 256 for 'affine'",
        "inputs[0].shape",
    ),
    "datatype": (
        affine(datatype="INT32"),
        "inference input 'x' data-type is 'INT32', but model 'affine' expects 'FP32'",
        "inputs[0].datatype",
    ),
    "missing input": (
        changed(lambda request: request.inputs.pop()),
        "expected 2 inputs but got 1 inputs for model 'weighted-sum'. Missing required input(s) ['b']",
        "inputs",
    ),
    "unknown input": (
        changed(lambda request: request.inputs.add(name="c")),
        "unexpected inference input 'c' for model 'weighted-sum'; it takes a, b",
        "inputs[2].name",
    ),
    "input twice": (changed(repeated), "input 'a' already exists in request for 'weighted-sum'", "inputs[2].name"),
    "unknown output": (
        changed(lambda request: request.outputs.add(name="z")),
        "unexpected inference output 'z' for model 'weighted-sum'; it has sum, difference",
        "outputs[0].name",
    ),
    "output twice": (
        changed(
            lambda request: request.outputs.extend([pb.ModelInferRequest.InferRequestedOutputTensor(name="sum")] * 2)
        ),
        "output 'sum' already requested for model 'weighted-sum'",
        "outputs[1].name",
    ),
    "typed count": (
        typed(fp32_contents=[1, 2]),
        "input 'x' for model 'affine' has 2 values in fp32_contents, its shape [1,3] has 3",
        "inputs[0].contents",
    ),
    "no values at all": (
        typed(),
        "input 'x' for model 'affine' has 0 values in fp32_contents, its shape [1,3] has 3",
        "inputs[0].contents",
    ),
    "typed field": (
        typed(int_contents=[1, 2, 3]),
        "input 'x' for model 'affine' is FP32: its values belong into fp32_contents, not int_contents",
        "inputs[0].contents.int_contents",
    ),
    "string lengths": (
        words(b"\x01\0\0\0a\xff\xff\xff\xffb"),
        "input 'x' for model 'words' is not a BYTES tensor: "
        "element 1 has 4294967295 bytes, but 1 are left in the buffer",
        "raw_input_contents[0]",
    ),
    "string count": (
        words(b"\x01\0\0\0a"),
        "input 'x' for model 'words' is not a BYTES tensor: the buffer of 5 bytes ends before element 1 of 2",
        "raw_input_contents[0]",
    ),
    "string surplus": (
        words(b"\x01\0\0\0a\0\0\0\0zz"),
        "input 'x' for model 'words' is not a BYTES tensor: 2 bytes are left over after 2 elements",
        "raw_input_contents[0]",
    ),
    "string encoding": (
        words(b"\x01\0\0\0a\x01\0\0\0\xff"),
        "input 'x' for model 'words': element 1 is not UTF-8 at its byte 0",
        "raw_input_contents[0]",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_the_texts_of_errors(calls: Calls, case: str) -> None:
    request, text, field = CASES[case]
    got = await failure(calls.inference.ModelInfer(request))
    assert got.code is grpc.StatusCode.INVALID_ARGUMENT
    assert got.message == text
    assert got.violations[field].description == text
    assert (await calls.inference.ModelInfer(affine())).outputs, "the next request works"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (pb.ModelInferRequest(model_name="nobody"), "Request for unknown model: 'nobody' is not found"),
        (
            pb.ModelInferRequest(model_name="affine", model_version="7"),
            "Request for unknown model: 'affine' version 7 is not found",
        ),
        (
            pb.ModelInferRequest(model_name="affine", model_version="0"),
            "Request for unknown model: 'affine' version 0 is not found",
        ),
    ],
)
async def test_unknown_models(calls: Calls, request_: pb.ModelInferRequest, text: str) -> None:
    got = await failure(calls.inference.ModelInfer(request_))
    assert (got.code, got.message) == (grpc.StatusCode.NOT_FOUND, text)
    metadata = pb.ModelMetadataRequest(name=request_.model_name, version=request_.model_version)
    assert (await failure(calls.inference.ModelMetadata(metadata))).message == text


async def test_values_that_do_not_fit_are_refused_not_cut(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "small", plain_graphs.echo("INT8", ("batch", 1)))
    add_plain(tmp_path, "truth", plain_graphs.echo("BOOL", ("batch", 1)))
    add_plain(tmp_path, "half", plain_graphs.echo("FP16", ("batch", 1)))
    calls = await serve(tmp_path)

    async def message(model: str, datatype: str, raw: bytes | None = None, **contents: list[object]) -> str:
        request = pb.ModelInferRequest(model_name=model, raw_input_contents=[raw] if raw else [])
        tensor = request.inputs.add(name="x", datatype=datatype, shape=[1, 1])
        if contents:
            tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
        return (await failure(calls.inference.ModelInfer(request))).message

    assert (
        await message("small", "INT8", int_contents=[128]) == "input 'x' for model 'small': 128 does not fit into INT8"
    )
    assert await message("truth", "BOOL", b"\x02") == "input 'x' for model 'truth': 2 does not fit into BOOL"
    text = "input 'x' for model 'half' is FP16, which must come in raw_input_contents"
    assert await message("half", "FP16", fp32_contents=[1.0]) == text


async def test_a_failing_run_is_internal_and_tells_nothing(calls: Calls) -> None:
    got = await failure(calls.infer("lookup", {"index": np.array([[99]])}))
    assert (got.code, got.info.reason) == (grpc.StatusCode.INTERNAL, "INFERENCE_FAILED")
    assert "x-request-id" in got.message
    for secret in ("Gather", "index", "onnx", "ONNX"):
        assert secret not in got.message + str(got.info)
    assert (await calls.infer("lookup", {"index": np.array([[7]])}))["y"].tolist() == [[70]]
