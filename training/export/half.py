"""Half precision of an exported graph, for a GPU; a CPU has no kernels for it and would compute in float32 again."""

from __future__ import annotations

import logging

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from training.errors import GateError
from zoo.golden import Tensors
from zoo.runtime import open_session

TOLERANCE_FACTOR = 10
"""How much more golden samples tolerate in half precision: 10 bits of mantissa instead of 23, summed over layers."""
_LARGEST = float(np.finfo(np.float16).max)
_FLOAT32_OPERATORS = [*DEFAULT_OP_BLOCK_LIST, "Softmax"]
"""Left in float32: what has no kernel in half precision, and probabilities, of which small ones would become 0."""


def to_float16(onnx_bytes: bytes) -> bytes:
    """Convert a float32 graph; its inputs and outputs stay what they were.

    Args:
        onnx_bytes: a graph of the exporter, which knows the types of all its tensors.

    Raises:
        GateError: it is quantised already.
    """
    model = onnx.load_from_string(onnx_bytes)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise GateError("the model is quantised to int8 already; convert the float32 version of it")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it tells of every initializer that it shares
    try:
        # Types are known from the export; inferring them again crashes on graphs with string operators (onnx 1.23).
        half = convert_float_to_float16(
            model, keep_io_types=True, disable_shape_infer=True, op_block_list=_FLOAT32_OPERATORS
        )
    finally:
        logging.root.setLevel(level)
    return bytes(half.SerializeToString())


def check_range(onnx_bytes: bytes, inputs: Tensors) -> float:
    """Look at every weight, and at every float32 value on the way of some inputs: half precision ends at 65504.

    On a CPU the converted graph itself would not show it, since its values are float32 between the operators.

    Returns:
        The largest value, as a fraction of what half precision can hold.

    Raises:
        GateError: a value does not fit, or is no number; it names the tensor.
    """
    model = onnx.load_from_string(onnx_bytes)
    worst = 0.0
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            worst = max(worst, _fraction(tensor.name, numpy_helper.to_array(tensor)))
    outputs = {output.name for output in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    floats = [info for info in model.graph.value_info if info.type.tensor_type.elem_type == TensorProto.FLOAT]
    model.graph.output.extend(info for info in floats if info.name in made - outputs)
    session = open_session(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    for name, value in zip(names, session.run(names, inputs), strict=True):
        worst = max(worst, _fraction(name, np.asarray(value)))
    return worst


def _fraction(name: str, values: np.ndarray) -> float:
    largest = float(np.abs(values).max(initial=0)) / _LARGEST
    if not largest < 1:
        raise GateError(f"{name} reaches {largest * _LARGEST:.3g}, which half precision cannot hold (65504 at most)")
    return largest
