"""BF16 tensors: numpy has no such type, so their bits travel as uint16, and ONNX Runtime is called in another way."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.backend.contract import Signature, Tensors

BFLOAT16 = "tensor(bfloat16)"
_ONNX_BFLOAT16 = 16
"""TensorProto.BFLOAT16."""


def run(session: Any, signature: Signature, names: Sequence[str], inputs: Tensors, options: Any) -> list[Any]:
    """What `session.run` does, for a model that has BF16 inputs or outputs."""
    values = {name: _to_ort(value, _is_bfloat16(signature, name)) for name, value in inputs.items()}
    return [_to_numpy(value) for value in session.run_with_ort_values(list(names), values, options)]


def _is_bfloat16(signature: Signature, name: str) -> bool:
    spec = signature.input(name)
    return spec is not None and spec.datatype == "BF16"


def _to_ort(value: NDArray[np.generic], bfloat16: bool) -> Any:
    tensor = np.ascontiguousarray(value)
    if bfloat16:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(tensor, _ONNX_BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(tensor)


def _to_numpy(value: Any) -> NDArray[np.generic]:
    if value.data_type() != BFLOAT16:
        tensor: NDArray[np.generic] = value.numpy()
        return tensor
    assert value.device_name() == "cpu", "ONNX Runtime puts outputs there unless it is told otherwise"
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(data, np.uint16).reshape(value.shape())
