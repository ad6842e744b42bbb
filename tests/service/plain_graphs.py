"""Real ONNX graphs without a card, each with a property that the server has to cope with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper

_OPSETS = [helper.make_opsetid("", 18)]
Shape = Sequence[int | str]

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def affine(axes: Shape = ("batch", 3), *, factor: float = 2.0) -> bytes:
    """x float32 -> y = factor x + 1."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["scaled"]), helper.make_node("Add", ["scaled", "one"], ["y"])]
    constants = [
        helper.make_tensor("factor", TensorProto.FLOAT, [], [factor]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
    ]
    return make_model(nodes, {"x": ("FP32", axes)}, {"y": ("FP32", axes)}, constants)


def echo(datatype: str, axes: Shape = ("batch", 2)) -> bytes:
    """x -> y = x, of any datatype."""
    return make_model([helper.make_node("Identity", ["x"], ["y"])], {"x": (datatype, axes)}, {"y": (datatype, axes)})


def bfloat16() -> bytes:
    """x bfloat16 [N, 2] -> y = 2 x."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["double"]),
        helper.make_node("Cast", ["double"], ["y"], to=TensorProto.BFLOAT16),
    ]
    axes = ("batch", 2)
    return make_model(nodes, {"x": ("BF16", axes)}, {"y": ("BF16", axes)})


def affine_and_count() -> bytes:
    """x float32 [N, 3] -> y = 2 x; count int64 [] = 3 N, an output without a batch axis."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Size", ["x"], ["count"])]
    axes = ("batch", 3)
    return make_model(nodes, {"x": ("FP32", axes)}, {"y": ("FP32", axes), "count": ("INT64", ())})


def weighted_sum() -> bytes:
    """a float32 [N, 2], b int64 [N, 2] -> sum = a + b, difference = a - b."""
    nodes = [
        helper.make_node("Cast", ["b"], ["b_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "b_float"], ["sum"]),
        helper.make_node("Sub", ["a", "b_float"], ["difference"]),
    ]
    axes = ("batch", 2)
    inputs = {"a": ("FP32", axes), "b": ("INT64", axes)}
    return make_model(nodes, inputs, {"sum": ("FP32", axes), "difference": ("FP32", axes)})


def running_sum() -> bytes:
    """x float32 [n] -> y [n], y[i] = x[0] + ... + x[i]: the free first axis is no batch."""
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["y"])]
    constants = [helper.make_tensor("axis", TensorProto.INT64, [], [0])]
    return make_model(nodes, {"x": ("FP32", ("n",))}, {"y": ("FP32", ("n",))}, constants)


def lookup() -> bytes:
    """index int64 [N, 1] -> y float32 [N, 1] = 10 x index, for 0 to 9; any other index makes the run fail."""
    table = np.arange(0, 100, 10, dtype=np.float32)
    nodes = [helper.make_node("Gather", ["table", "index"], ["y"])]
    constants = [helper.make_tensor("table", TensorProto.FLOAT, [10], table)]
    return make_model(nodes, {"index": ("INT64", ("batch", 1))}, {"y": ("FP32", ("batch", 1))}, constants)


def busy() -> bytes:
    """rounds int64 [N, 1] -> y float32 [N, 1] = rounds, after as many rounds of a loop as the largest of them."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Add", ["total", "tick"], ["next"])],
        "body",
        [_value("round", "INT64", ()), _value("go", "BOOL", ()), _value("total", "FP32", ())],
        [_value("still", "BOOL", ()), _value("next", "FP32", ())],
        [helper.make_tensor("tick", TensorProto.FLOAT, [], [1.0])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["rounds"], ["trips"], keepdims=0),
        helper.make_node("Loop", ["trips", "", "zero"], ["spent"], body=body),
        helper.make_node("Mul", ["spent", "zero"], ["nothing"]),
        helper.make_node("Cast", ["rounds"], ["rounds_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["rounds_float", "nothing"], ["y"]),
    ]
    constants = [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])]
    return make_model(nodes, {"rounds": ("INT64", ("batch", 1))}, {"y": ("FP32", ("batch", 1))}, constants)


def hungry() -> bytes:
    """mebibytes int64 [N, 1] -> y int64 [N, 1] = mebibytes, with as much memory in between as the largest says."""
    nodes = [
        helper.make_node("Mul", ["mebibytes", "floats"], ["sizes"]),
        helper.make_node("ReduceMax", ["sizes"], ["size"], keepdims=0),
        helper.make_node("Reshape", ["size", "one"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        helper.make_node("Cast", ["nothing"], ["nought"], to=TensorProto.INT64),
        helper.make_node("Add", ["mebibytes", "nought"], ["y"]),
    ]
    constants = [
        helper.make_tensor("floats", TensorProto.INT64, [], [2**20 // 4]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    axes = ("batch", 1)
    return make_model(nodes, {"mebibytes": ("INT64", axes)}, {"y": ("INT64", axes)}, constants)


def large(mebibytes: int) -> bytes:
    """x float32 [N, 64] -> y = x W, with a W of this size."""
    weights = np.ones((64, mebibytes * 2**20 // (64 * 4)), np.float32)
    constant = helper.make_tensor("W", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"])]
    return make_model(nodes, {"x": ("FP32", ("batch", 64))}, {"y": ("FP32", ("batch", weights.shape[1]))}, [constant])


def with_external_data(location: str) -> bytes:
    """A graph whose weight is said to be in another file."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [0.0] * 4)
    del weight.float_data[:]
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "length": "16"}.items():
        weight.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    return make_model(nodes, {"x": ("FP32", ("batch", 4))}, {"y": ("FP32", ("batch", 4))}, [weight])


def with_unknown_operator() -> bytes:
    """A graph that needs a library of custom operators."""
    nodes = [helper.make_node("Conjure", ["x"], ["y"], domain="com.example")]
    return make_model(
        nodes,
        {"x": ("FP32", ("batch", 1))},
        {"y": ("FP32", ("batch", 1))},
        opsets=[helper.make_opsetid("com.example", 1)],
    )


def _value(name: str, datatype: str, axes: Shape) -> object:
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], axes)


def make_model(
    nodes: list[object],
    inputs: dict[str, tuple[str, Shape]],
    outputs: dict[str, tuple[str, Shape]],
    constants: Sequence[object] = (),
    opsets: Sequence[object] = (),
) -> bytes:
    """A serialised model of these nodes; tensors are (datatype, axes)."""
    graph = helper.make_graph(
        nodes,
        "plain",
        [_value(name, *what) for name, what in inputs.items()],
        [_value(name, *what) for name, what in outputs.items()],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[*_OPSETS, *opsets], ir_version=9)
    data: bytes = model.SerializeToString()
    return data
