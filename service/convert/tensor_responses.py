"""The tensor API: from the tensors that a model gave to a ModelInferResponse."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.grpc_service_pb2 import ModelInferResponse, ModelStreamInferResponse
from service.backend.contract import Tensors
from service.convert.best_classes import best_classes
from service.convert.tensor_message import TensorRequest
from service.errors import ServiceError
from service.models.served_model import ServedModel
from service.shared_memory import Space
from zoo import byte_strings


def response(
    request: TensorRequest,
    model: ServedModel,
    wanted: Mapping[str, int],
    tensors: Tensors,
    spaces: Mapping[str, Space],
) -> ModelInferResponse:
    """The answer: raw values, one for each output, in the order that the request names or else the model's.

    Args:
        request: its id is echoed.
        model: what answered.
        wanted: outputs by name, with the number of classes or 0 for the tensor itself; empty: all.
        tensors: what the model gave.
        spaces: outputs by name whose values go into shared memory; their place in the answer stays empty.

    Raises:
        InvalidRegionError: as `Space.write`.
    """
    answer = ModelInferResponse(model_name=model.name, model_version=str(model.version), id=request.id)
    for name in wanted or [spec.name for spec in model.signature.outputs]:
        spec = model.signature.output(name)
        assert spec is not None, "read_outputs checked the names"
        if top_k := wanted.get(name, 0):
            batched = model.signature.max_batch != 0
            values = float_values(tensors[name], spec.datatype)
            classes = classify(values, top_k, model.labels_of(name), batched=batched)
            _add(answer, name, "BYTES", classes, spaces.get(name))
        else:
            _add(answer, name, spec.datatype, tensors[name], spaces.get(name))
    _mark_final(request, answer)
    return answer


def stream_error(request: TensorRequest, error: ServiceError) -> ModelStreamInferResponse:
    """The answer to a request of a stream that failed."""
    asked = request.head.message
    answer = ModelInferResponse(model_name=asked.model_name, model_version=asked.model_version, id=request.id)
    _mark_final(request, answer)
    return ModelStreamInferResponse(error_message=error.message, infer_response=answer)


def _mark_final(request: TensorRequest, answer: ModelInferResponse) -> None:
    """There is one response to a request, so it is the last one too."""
    if request.head.wants_final_response:
        answer.parameters["triton_final_response"].bool_param = True


def float_values(values: NDArray[np.generic], datatype: str) -> NDArray[np.generic]:
    """The values as numbers that can be compared: a BF16 is the upper half of an FP32."""
    return (values.astype(np.uint32) << 16).view(np.float32) if datatype == "BF16" else values


def classify(
    values: NDArray[np.generic], top_k: int, labels: Sequence[str], *, batched: bool = True
) -> NDArray[np.object_]:
    """The highest values of each row as text, "<value>:<index>[:<label>]", best first: [batch, min(k, n)].

    Labels stand there where there is one for every value of a row.
    """
    rows_NK = values.reshape(len(values), -1) if batched else values.reshape(1, -1)
    names = labels if len(labels) == rows_NK.shape[1] else ()
    keys = rows_NK.astype(np.float64) if rows_NK.dtype.kind in "fiub" else np.zeros(rows_NK.shape)
    best_NT = best_classes(keys, top_k)
    texts = [
        [_class(row[index], index, names) for index in best.tolist()]
        for row, best in zip(rows_NK, best_NT, strict=True)
    ]
    result = np.array(texts, dtype=object).reshape(best_NT.shape)
    return result if batched else result[0]


def _class(value: object, index: int, labels: Sequence[str]) -> str:
    text = f"{value:f}" if isinstance(value, np.floating) else str(value)
    return f"{text}:{index}:{labels[index]}" if labels else f"{text}:{index}"


def _add(
    answer: ModelInferResponse, name: str, datatype: str, values: NDArray[np.generic], space: Space | None
) -> None:
    data = byte_strings.encode(values) if datatype == "BYTES" else _raw(values)
    if space:
        space.write(data)
        data = b""
    answer.outputs.add(name=name, datatype=datatype, shape=values.shape)
    answer.raw_output_contents.append(data)


def _raw(values: NDArray[np.generic]) -> bytes:
    """Row-major, little-endian."""
    return values.tobytes() if sys.byteorder == "little" else values.byteswap().tobytes()
