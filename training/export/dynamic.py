"""Dynamic int8 quantisation of an exported text classifier: weights in 8 bits, activations as they come."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from training.data.texts.tokens import IDS
from training.errors import GateError
from training.export.token_network import join_network, name_operators_once

_OPERATORS = ["LSTM", "MatMul", "Gemm", "Gather"]
"""What has kernels for it: of recurrent layers LSTM only. Of an embedding just the table is stored in 8 bits."""


def quantize_text_int8(onnx_bytes: bytes) -> bytes:
    """Quantise the network of a text classifier; its tokenizer stays as it is.

    Activations get their scale at each run, one for all rows of a batch. That is harmless where their range is known,
    as that of embeddings and of the state of an LSTM is; a forecaster's readings could be spoilt by a neighbour's.
    One thread, batches of 8 texts of 40 words, a bidirectional LSTM of 128 and of 256 cells: 1.8 and 2.2 times as fast
    as float32, and a quarter of its size; GRU and plain recurrent networks are as fast as before.

    Args:
        onnx_bytes: a float32 graph of `export_text`.

    Raises:
        GateError: it is quantised already.
    """
    model = onnx.load_from_string(onnx_bytes)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise GateError("the model is quantised to int8 already; convert the float32 version of it")
    # The quantiser infers shapes, which crashes on a tokenizer's string operators (onnx 1.23).
    front, back = _cut(model)
    return bytes(join_network(front, _quantize(back)).SerializeToString())


def _cut(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The tokenizer, and what takes its ids."""
    before = _ancestors(model.graph.node, IDS)
    parts = []
    for inside in (True, False):
        part = onnx.ModelProto()
        part.CopyFrom(model)
        del part.metadata_props[:]
        # Inferred shapes contradict the tensors that the quantiser adds.
        del part.graph.node[:], part.graph.value_info[:], part.graph.initializer[:]
        part.graph.node.extend(node for place, node in enumerate(model.graph.node) if (place in before) == inside)
        used = {name for node in part.graph.node for name in node.input}
        part.graph.initializer.extend(value for value in model.graph.initializer if value.name in used)
        name_operators_once(part)
        parts.append(part)
    front, back = parts
    ids = onnx.helper.make_tensor_value_info(IDS, onnx.TensorProto.INT64, ["batch", "time"])
    del front.graph.output[:], back.graph.input[:]
    front.graph.output.append(ids)
    back.graph.input.append(ids)
    return front, back


def _ancestors(nodes: Iterable[onnx.NodeProto], name: str) -> set[int]:
    """The places of the nodes that a tensor is made by."""
    made = {output: (place, node) for place, node in enumerate(nodes) for output in node.output}
    found: set[int] = set()
    names = [name]
    while names:
        place, node = made.get(names.pop(), (-1, None))
        if node is not None and place not in found:
            found.add(place)
            names += node.input
    return found


def _quantize(model: onnx.ModelProto) -> onnx.ModelProto:
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it recommends a preparation that the exporter has done already
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
            source.write_bytes(model.SerializeToString())
            quantize_dynamic(
                source, target, op_types_to_quantize=_OPERATORS, per_channel=True, weight_type=QuantType.QInt8
            )
            return onnx.load(target)
    finally:
        logging.root.setLevel(level)
