"""Small real ONNX graphs whose right answers are obvious; they fit the cards of `tests.cards`."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, helper

_OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
_IR_VERSION = 9


def image_graph() -> bytes:
    """Image uint8 [N, 8, 8, 3] -> logits [-m, m], where m is the mean brightness over 255, minus a half, times 8."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["level"]),
        helper.make_node("Div", ["level", "full"], ["share"]),
        helper.make_node("Sub", ["share", "half"], ["signed"]),
        helper.make_node("MatMul", ["signed", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
        helper.make_tensor("full", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("weights", TensorProto.FLOAT, [1, 2], [-8.0, 8.0]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8, 3])
    return _serialise(nodes, [image], _classes(), constants)


def text_graph() -> bytes:
    """Text string [N] -> "glad" for the text "good", "sad" for "bad", undecided for any other."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["text"],
            ["score"],
            domain="ai.onnx.ml",
            keys_strings=["good", "bad"],
            values_floats=[4.0, -4.0],
            default_float=0.0,
        ),
        helper.make_node("Reshape", ["score", "column"], ["level"]),
        helper.make_node("MatMul", ["level", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
        helper.make_tensor("weights", TensorProto.FLOAT, [1, 2], [-1.0, 1.0]),
    ]
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])
    return _serialise(nodes, [text], _classes(), constants)


def forecast_graph() -> bytes:
    """History float32 [N, T, 2] -> forecast [N, 2, 1]: the newest load, twice."""
    nodes = [
        helper.make_node("Slice", ["history", "start", "end", "axes"], ["newest"]),
        helper.make_node("Concat", ["newest", "newest"], ["forecast"], axis=1),
    ]
    constants = [
        helper.make_tensor("start", TensorProto.INT64, [2], [-1, 0]),
        helper.make_tensor("end", TensorProto.INT64, [2], [2**31, 1]),
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
    ]
    history = helper.make_tensor_value_info("history", TensorProto.FLOAT, ["batch", "time", 2])
    forecast = helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["batch", 2, 1])
    return _serialise(nodes, [history], [forecast], constants)


def stateful_forecast_graph() -> bytes:
    """History float32 [N, 1, 2] and total [N, 1] -> next_total = total + load; forecast [N, 2, 1]: it, twice."""
    nodes = [
        helper.make_node("Slice", ["history", "start", "end", "axes"], ["newest"]),
        helper.make_node("Reshape", ["newest", "column"], ["load"]),
        helper.make_node("Add", ["total", "load"], ["next_total"]),
        helper.make_node("Unsqueeze", ["next_total", "last"], ["step"]),
        helper.make_node("Concat", ["step", "step"], ["forecast"], axis=1),
    ]
    constants = [
        helper.make_tensor("start", TensorProto.INT64, [2], [-1, 0]),
        helper.make_tensor("end", TensorProto.INT64, [2], [2**31, 1]),
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
        helper.make_tensor("last", TensorProto.INT64, [1], [2]),
    ]
    history = helper.make_tensor_value_info("history", TensorProto.FLOAT, ["batch", 1, 2])
    total = helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch", 1])
    forecast = helper.make_tensor_value_info("forecast", TensorProto.FLOAT, ["batch", 2, 1])
    next_total = helper.make_tensor_value_info("next_total", TensorProto.FLOAT, ["batch", 1])
    return _serialise(nodes, [history, total], [forecast, next_total], constants)


def _classes() -> list[object]:
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("probabilities", "logits")
    ]


def _serialise(nodes: list[object], inputs: list[object], outputs: list[object], constants: list[object]) -> bytes:
    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    model: ModelProto = helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)
    return model.SerializeToString()
