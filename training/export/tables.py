"""Large tables of vectors in half precision: half the file, and rows become float32 again when they are looked up.

The network is rounded first, before it is measured; so the file still gives what torch gives, to the last digits.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.models.naive_bayes import HashedNaiveBayes

_LEAST_BYTES = 100_000
_LOOKUPS = {"Gather", "GatherND"}


@torch.no_grad()
def round_tables(network: nn.Module) -> None:
    """Round, in place, what `halve_tables` can then store in half precision."""
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            module.weight.copy_(module.weight.half())
        elif isinstance(module, HashedNaiveBayes):
            module.evidence_OBF.copy_(module.evidence_OBF.half())


def halve_tables(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large tables, whose rows are only looked up, in half precision, in place, where that changes no number."""
    graph = model.graph
    tables = [tensor for tensor in graph.initializer if _is_large(tensor)]
    for tensor in tables:
        users = [node for node in graph.node if tensor.name in node.input]
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if all(_only_looks_up(node, tensor.name) for node in users) and np.array_equal(half, values):
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
            for node in users:
                _cast_behind(graph, node)
    return model


def _is_large(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and 4 * int(np.prod(tensor.dims)) >= _LEAST_BYTES


def _only_looks_up(node: onnx.NodeProto, name: str) -> bool:
    return node.op_type in _LOOKUPS and node.input[0] == name and name not in node.input[1:]


def _cast_behind(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    found = node.output[0]
    node.output[0] = f"{found}_half"
    cast = helper.make_node("Cast", [node.output[0]], [found], to=TensorProto.FLOAT)
    graph.node.insert(list(graph.node).index(node) + 1, cast)
