"""Steps of sequences, as clients of the tensor API send them."""

from __future__ import annotations

from typing import Any

import numpy as np

from inference import grpc_service_pb2 as pb
from tests.service.calls import Calls, infer_request, numbers


def step(
    model: str, tensors: dict[str, np.ndarray], key: int | str, *, start: bool = False, end: bool = False
) -> pb.ModelInferRequest:
    """A step of a sequence."""
    request = infer_request(model, tensors)
    if isinstance(key, str):
        request.parameters["sequence_id"].string_param = key
    else:
        request.parameters["sequence_id"].int64_param = key
    request.parameters["sequence_start"].bool_param = start
    request.parameters["sequence_end"].bool_param = end
    return request


async def run(calls: Calls, request: pb.ModelInferRequest) -> dict[str, list[Any]]:
    """The first row of each numeric output."""
    return {name: value[0].tolist() for name, value in numbers(await calls.inference.ModelInfer(request)).items()}


def one(value: float) -> dict[str, np.ndarray]:
    """INPUT of the accumulator."""
    return {"INPUT": np.array([[value]], np.float32)}
