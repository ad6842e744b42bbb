"""Requests as they go over the wire, each with the check of its answer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference import grpc_service_pb2 as pb
from menagerie.v1 import prediction_service_pb2 as prediction
from service.backend.contract import DTYPES, Tensors
from tests.service.calls import numbers
from zoo.card import Card
from zoo.golden import golden_inputs, output_name

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
CLASSIFY_IMAGES = "/menagerie.v1.PredictionService/ClassifyImages"


class Verdict(NamedTuple):
    """What an answer is worth."""

    wrong: str = ""
    """What is wrong with it; empty: nothing."""
    version: str = ""
    """Of the model that answered."""


@dataclass(frozen=True)
class Question:
    """A request, and the judge of its answer."""

    path: str
    message: bytes
    """Without the frame of gRPC."""
    judge: Callable[[bytes], Verdict]
    http: str = ""
    """Empty: gRPC; else the version of HTTP, "1.1" or "2", of a POST of the message."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of HTTP."""


def infer_question(request: pb.ModelInferRequest, is_right: Callable[[pb.ModelInferResponse], bool]) -> Question:
    """A request of the tensor API with a check of its own."""

    def judge(answer: bytes) -> Verdict:
        response = pb.ModelInferResponse.FromString(answer)
        return Verdict("" if is_right(response) else "not the answer to this question", response.model_version)

    return Question(MODEL_INFER, request.SerializeToString(), judge)


def tensor_question(
    model: str, inputs: Tensors, expected: Tensors, tolerance: float, *, same_axes: bool = True
) -> Question:
    """A request of the tensor API, whose outputs must be these; of some servers axes of length 1 may be too many."""
    request = _request(model, inputs)

    def judge(answer: bytes) -> Verdict:
        response = pb.ModelInferResponse.FromString(answer)
        return Verdict(
            compare(read_outputs(response), expected, tolerance, same_axes=same_axes), response.model_version
        )

    return Question(MODEL_INFER, request.SerializeToString(), judge)


def images_question(model: str, files: Sequence[bytes], probabilities: NDArray[np.float32]) -> Question:
    """JPEG files to five classes each, whose probabilities must be these [N, K]."""
    request = prediction.ClassifyImagesRequest(images=files, top_k=5)
    request.model.name = model
    best = np.sort(probabilities, axis=1)[:, :-6:-1]

    def judge(answer: bytes) -> Verdict:
        response = prediction.ClassifyImagesResponse.FromString(answer)
        named = [[score.index for score in result.classes] for result in response.results]
        got = np.array([[score.probability for score in result.classes] for result in response.results])
        if got.shape != best.shape:
            return Verdict(f"{got.shape} classes instead of {best.shape}")
        # Of two classes that are almost as probable, either may come first.
        own = np.take_along_axis(probabilities, np.array(named), axis=1)
        wrong = compare({"top 5": got}, {"top 5": best}, 0.01) or compare({"classes": got}, {"classes": own}, 0.01)
        return Verdict(wrong, str(response.model.version))

    return Question(CLASSIFY_IMAGES, request.SerializeToString(), judge)


def golden_questions(name: str, card: Card, rows: int = 1) -> list[Question]:
    """The golden samples of a model, each in as many rows of a request; an answer must be that of its own sample."""
    inputs, output = golden_inputs(card), output_name(card.task)
    samples = range(len(card.golden.samples))
    repeated = [{key: np.repeat(value[i : i + 1], rows, axis=0) for key, value in inputs.items()} for i in samples]
    return [_golden_question(name, card, repeated[i], output, i) for i in samples]


def _golden_question(name: str, card: Card, inputs: Tensors, output: str, sample: int) -> Question:
    expected = np.array(card.golden.samples[sample].expected)
    tolerance = card.golden.atol + card.golden.rtol * np.abs(expected)

    def is_right(response: pb.ModelInferResponse) -> bool:
        return bool((np.abs(numbers(response)[output].reshape(-1, expected.size) - expected) <= tolerance).all())

    request = _request(name, inputs)
    request.outputs.add(name=output)
    return infer_question(request, is_right)


def read_outputs(response: pb.ModelInferResponse) -> Tensors:
    """The numeric outputs of a response, raw or typed."""
    outputs = {}
    for place, output in enumerate(response.outputs):
        if response.raw_output_contents:
            values = np.frombuffer(response.raw_output_contents[place], DTYPES[output.datatype])
        else:
            values = np.array(output.contents.fp32_contents, np.float32)
        outputs[output.name] = values.reshape(output.shape)
    return outputs


def compare(got: Tensors, expected: Tensors, tolerance: float, *, same_axes: bool = True) -> str:
    """What is wrong; empty where every output is as expected, within a fraction of its largest value."""
    for name, right in expected.items():
        value = got.get(name)
        if value is not None and value.size == right.size and not same_axes:
            value = value.reshape(right.shape)
        if value is None or value.shape != right.shape:
            return f"{name} has shape {None if value is None else value.shape} instead of {right.shape}"
        scale = float(np.abs(right).max(initial=1e-9))
        error = float(np.abs(value.astype(np.float64) - right).max(initial=0)) / scale
        if not error <= tolerance:
            return f"{name} differs by {error:.2g} of the largest value"
    return ""


def _request(model: str, inputs: Tensors) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model)
    for name, value in inputs.items():
        request.inputs.add(name=name, datatype=_datatype(value), shape=value.shape)
        request.raw_input_contents.append(_strings(value) if value.dtype == object else value.tobytes())
    return request


def _strings(texts: NDArray[np.generic]) -> bytes:
    return b"".join(struct.pack("<I", len(data)) + data for data in (str(text).encode() for text in texts.ravel()))


def _datatype(value: NDArray[np.generic]) -> str:
    return next(name for name, dtype in DTYPES.items() if dtype == value.dtype)
