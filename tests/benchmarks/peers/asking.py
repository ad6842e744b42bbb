"""How other servers want to be asked: the same rows, each in the payload that the server's own documentation shows."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from tests.benchmarks.questions import Question, Verdict, compare, tensor_question
from tests.benchmarks.workloads import Workload


def open_inference(workload: Workload, items: int, start: int) -> Question:
    """The Open Inference Protocol over gRPC, raw contents."""
    return tensor_question(workload.model, *workload.rows(items, start), workload.tolerance, same_axes=False)


def open_inference_columns(workload: Workload, items: int, start: int) -> Question:
    """The same, where a text has to be a row of one column."""
    asked, expected = workload.rows(items, start)
    columns = {name: value.reshape(-1, 1) if value.dtype == object else value for name, value in asked.items()}
    return tensor_question(workload.model, columns, expected, workload.tolerance, same_axes=False)


def json_lists(workload: Workload, items: int, start: int) -> Question:
    """JSON over HTTP/1.1: numbers and texts as lists, pictures as base64."""
    asked, expected = workload.rows(items, start)
    (value,) = asked.values()
    body: dict[str, Any] = {"inputs": value.tolist()}
    if value.dtype == np.uint8:
        body = {"base64": base64.b64encode(value.tobytes()).decode(), "shape": value.shape}

    def judge(answer: bytes) -> Verdict:
        outputs = {name: np.array(rows) for name, rows in json.loads(answer).items()}
        return Verdict(compare(outputs, expected, workload.tolerance))

    headers = {"content-type": "application/json"}
    return Question("/predict", json.dumps(body).encode(), judge, http="1.1", headers=headers)


def torchserve(workload: Workload, items: int, start: int) -> Question:
    """TorchServe's gRPC: one field of bytes there, one back; texts one a line, everything else raw."""
    asked, expected = workload.rows(items, start)
    (value,) = asked.values()
    data = "\n".join(value.tolist()).encode() if value.dtype == object else value.tobytes()
    # PredictionsRequest: 1 model_name, 3 map of input; PredictionResponse: 1 prediction.
    message = _field(1, workload.model.encode()) + _field(3, _field(1, b"data") + _field(2, data))

    def judge(answer: bytes) -> Verdict:
        raw, outputs = answer[-sum(value.nbytes for value in expected.values()) :], {}
        for name, right in expected.items():
            outputs[name] = np.frombuffer(raw[: right.nbytes], right.dtype).reshape(right.shape)
            raw = raw[right.nbytes :]
        return Verdict(compare(outputs, expected, workload.tolerance))

    return Question("/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions", message, judge)


def _field(number: int, data: bytes) -> bytes:
    """A field of Protocol Buffers with a length."""
    length, size = bytearray(), len(data)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data
