"""Real ONNX graphs that carry state, as their makers exported them for a server that keeps it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.service.plain_graphs import Shape, make_model

GRU_INPUT, GRU_HIDDEN = 3, 4


def accumulator(axes: Shape = ("batch", 1), *, bonus: float = 0) -> bytes:
    """INPUT float32, STATE_IN float32, START and END int32, ID int64 -> OUTPUT = STATE_IN + INPUT + bonus, which is
    STATE_OUT too; FACTS int64 = 1000 ID + 10 START + END."""
    nodes = [
        helper.make_node("Add", ["INPUT", "STATE_IN"], ["sum"]),
        helper.make_node("Add", ["sum", "bonus"], ["OUTPUT"]),
        helper.make_node("Identity", ["OUTPUT"], ["STATE_OUT"]),
        helper.make_node("Cast", ["START"], ["start"], to=TensorProto.INT64),
        helper.make_node("Cast", ["END"], ["end"], to=TensorProto.INT64),
        helper.make_node("Mul", ["ID", "thousand"], ["ids"]),
        helper.make_node("Mul", ["start", "ten"], ["starts"]),
        helper.make_node("Add", ["ids", "starts"], ["both"]),
        helper.make_node("Add", ["both", "end"], ["FACTS"]),
    ]
    constants = [
        helper.make_tensor("bonus", TensorProto.FLOAT, [], [bonus]),
        helper.make_tensor("thousand", TensorProto.INT64, [], [1000]),
        helper.make_tensor("ten", TensorProto.INT64, [], [10]),
    ]
    inputs = {"INPUT": ("FP32", axes), "STATE_IN": ("FP32", axes)}
    inputs |= {"START": ("INT32", axes), "END": ("INT32", axes), "ID": ("INT64", axes)}
    outputs = {"OUTPUT": ("FP32", axes), "STATE_OUT": ("FP32", axes), "FACTS": ("INT64", axes)}
    return make_model(nodes, inputs, outputs, constants)


def gru_weights() -> dict[str, np.ndarray]:
    """Weights of the GRU, by their names in ONNX."""
    random = np.random.default_rng(7)
    return {
        "W": random.standard_normal((1, 3 * GRU_HIDDEN, GRU_INPUT)).astype(np.float32),
        "R": random.standard_normal((1, 3 * GRU_HIDDEN, GRU_HIDDEN)).astype(np.float32),
        "B": random.standard_normal((1, 6 * GRU_HIDDEN)).astype(np.float32),
    }


def gru_step() -> bytes:
    """x float32 [N, 3], h float32 [N, 4] -> y = next h: one step of a GRU."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "time"], ["x_T"]),
        helper.make_node("Unsqueeze", ["h", "time"], ["h_T"]),
        helper.make_node("GRU", ["x_T", "W", "R", "B", "", "h_T"], ["", "last"], hidden_size=GRU_HIDDEN),
        helper.make_node("Squeeze", ["last", "time"], ["h_next"]),
        helper.make_node("Identity", ["h_next"], ["y"]),
    ]
    constants = [helper.make_tensor("time", TensorProto.INT64, [1], [0])]
    constants += [helper.make_tensor(k, TensorProto.FLOAT, v.shape, v.ravel()) for k, v in gru_weights().items()]
    inputs = {"x": ("FP32", ("batch", GRU_INPUT)), "h": ("FP32", ("batch", GRU_HIDDEN))}
    outputs = dict.fromkeys(("y", "h_next"), ("FP32", ("batch", GRU_HIDDEN)))
    return make_model(nodes, inputs, outputs, constants)


def gru_whole() -> bytes:
    """x float32 [T, 1, 3] -> y [T, 1, 1, 4]: the same GRU over a whole sequence, from zero state."""
    nodes = [helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], hidden_size=GRU_HIDDEN)]
    constants = [helper.make_tensor(k, TensorProto.FLOAT, v.shape, v.ravel()) for k, v in gru_weights().items()]
    axes = ("time", 1, 1, GRU_HIDDEN)
    return make_model(nodes, {"x": ("FP32", ("time", 1, GRU_INPUT))}, {"y": ("FP32", axes)}, constants)


def whole_accumulator() -> bytes:
    """x float32 [2], total float32 [2] -> y [2] = total + x, next [2] the same; size int64 [] = 2: without a batch."""
    nodes = [
        helper.make_node("Add", ["x", "total"], ["y"]),
        helper.make_node("Identity", ["y"], ["next"]),
        helper.make_node("Size", ["x"], ["size"]),
    ]
    vector = ("FP32", (2,))
    return make_model(nodes, {"x": vector, "total": vector}, {"y": vector, "next": vector, "size": ("INT64", ())})


def growing_memory() -> bytes:
    """x float32 [N, 1], seen float32 [N, M] -> y [N, 1] = x + sum of seen; more [N, M + 1] = seen and x behind it."""
    nodes = [
        helper.make_node("Concat", ["seen", "x"], ["more"], axis=1),
        helper.make_node("ReduceSum", ["more", "axis"], ["y"], keepdims=1),
    ]
    constants = [helper.make_tensor("axis", TensorProto.INT64, [1], [1])]
    inputs = {"x": ("FP32", ("batch", 1)), "seen": ("FP32", ("batch", "past"))}
    outputs = {"y": ("FP32", ("batch", 1)), "more": ("FP32", ("batch", "now"))}
    return make_model(nodes, inputs, outputs, constants)
