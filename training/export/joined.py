"""Several published graphs as one: each gets the same input, and their answers are averaged.

A class activation map is of the class that its model names, so only the maps of models that name the class of all
together are averaged; where no model names that class, the map is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from training.errors import GateError
from training.export.recurrent import PRODUCER
from zoo.card import CLASS_ACTIVATION, LOGITS, PROBABILITIES
from zoo.golden import Run, Tensors

_LARGEST = 2**31 - 1
"""Bytes of a file without external data: a limit of Protocol Buffers."""
_LEAST_PROBABILITY = 1e-30
"""The logarithm of 0 is no number."""


def join_graphs(models: Sequence[bytes], weights: Sequence[float], outputs: Sequence[str]) -> bytes:
    """One graph that computes all models and the weighted means of their outputs.

    The mean of `probabilities` has `logits`, too: their logarithms, whose softmax they are.

    Args:
        models: with the same input, and at least `outputs`.
        weights: of the models; they sum to 1.
        outputs: to average; all are float32 with the items along the first axis. `class_activation` only beside
            `probabilities`.

    Raises:
        GateError: they were exported for different versions of operators, or are too large for one file.
    """
    protos = [onnx.load_from_string(model) for model in models]
    _check_operators(protos)
    given = protos[0].graph.input[0]
    nodes, initializers, infos = list[onnx.NodeProto](), list[onnx.TensorProto](), list[onnx.ValueInfoProto]()
    functions: list[onnx.FunctionProto] = []
    for number, proto in enumerate(protos):
        own = compose.add_prefix(proto, _prefix(number))
        nodes += [helper.make_node("Identity", [given.name], [own.graph.input[0].name]), *own.graph.node]
        initializers += own.graph.initializer
        infos += own.graph.value_info
        functions += own.functions
    shapes = {output.name: output for output in protos[0].graph.output}
    for name in outputs:
        nodes += _mean_map(len(models)) if name == CLASS_ACTIVATION else _mean(name, len(models))
    published = [shapes[name] for name in outputs]
    if PROBABILITIES in outputs:
        nodes += [
            helper.make_node("Max", [PROBABILITIES, "least_probability"], ["possible"]),
            helper.make_node("Log", ["possible"], [LOGITS]),
        ]
        initializers += [
            numpy_helper.from_array(np.float32(_LEAST_PROBABILITY), "least_probability"),
            numpy_helper.from_array(np.array([1, 2]), "axes_of_map"),
        ]
        published.insert(1, shapes[LOGITS])
    initializers += [
        numpy_helper.from_array(np.float32(weight), _weight(number)) for number, weight in enumerate(weights)
    ]
    graph = helper.make_graph(nodes, "ensemble", [given], published, initializers, value_info=infos)
    model = helper.make_model(
        graph,
        opset_imports={entry.domain: entry for proto in protos for entry in proto.opset_import}.values(),
        functions=functions,
        ir_version=max(proto.ir_version for proto in protos),
        producer_name=PRODUCER,
    )
    if model.ByteSize() > _LARGEST:
        raise GateError(
            f"the ensemble has {model.ByteSize() / 1e9:.1f} GB, one file holds 2 at most; take fewer models"
        )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def mean_run(runs: Sequence[Run], weights: Sequence[float], outputs: Sequence[str]) -> Run:
    """What the joined graph should give, from each model by itself."""

    def run(inputs: Tensors) -> Tensors:
        answers = [run(inputs) for run in runs]
        means = {
            name: sum(weight * answer[name].astype(np.float64) for weight, answer in zip(weights, answers, strict=True))
            for name in outputs
        }
        given: Tensors = {name: np.asarray(mean, np.float32) for name, mean in means.items()}
        if CLASS_ACTIVATION in means:
            named = [answer[LOGITS].argmax(1) == given[PROBABILITIES].argmax(1) for answer in answers]
            shares = [weight * agrees[:, None, None] for weight, agrees in zip(weights, named, strict=True)]
            maps = sum(share * answer[CLASS_ACTIVATION] for share, answer in zip(shares, answers, strict=True))
            given[CLASS_ACTIVATION] = (maps / np.maximum(sum(shares), _LEAST_PROBABILITY)).astype(np.float32)
        if PROBABILITIES in means:
            given[LOGITS] = np.log(np.maximum(given[PROBABILITIES].astype(np.float32), np.float32(_LEAST_PROBABILITY)))
        return given

    return run


def _mean(name: str, count: int) -> list[onnx.NodeProto]:
    parts = [f"weighted_{number}_{name}" for number in range(count)]
    products = [
        helper.make_node("Mul", [f"{_prefix(number)}{name}", _weight(number)], [part])
        for number, part in enumerate(parts)
    ]
    return [*products, helper.make_node("Sum", parts, [name])]


def _mean_map(count: int) -> list[onnx.NodeProto]:
    """Of the models whose class is that of the mean probabilities."""
    nodes = [helper.make_node("ArgMax", [PROBABILITIES], ["class"], axis=1, keepdims=0)]
    for number in range(count):
        own, its = f"{_prefix(number)}{LOGITS}", f"_{number}"
        nodes += [
            helper.make_node("ArgMax", [own], [f"class{its}"], axis=1, keepdims=0),
            helper.make_node("Equal", [f"class{its}", "class"], [f"agrees{its}"]),
            helper.make_node("Cast", [f"agrees{its}"], [f"one{its}"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"one{its}", _weight(number)], [f"flat_share{its}"]),
            helper.make_node("Unsqueeze", [f"flat_share{its}", "axes_of_map"], [f"share{its}"]),
            helper.make_node("Mul", [f"{_prefix(number)}{CLASS_ACTIVATION}", f"share{its}"], [f"shared_map{its}"]),
        ]
    return [
        *nodes,
        helper.make_node("Sum", [f"shared_map_{number}" for number in range(count)], ["sum_of_maps"]),
        helper.make_node("Sum", [f"share_{number}" for number in range(count)], ["sum_of_shares"]),
        helper.make_node("Max", ["sum_of_shares", "least_probability"], ["some_share"]),
        helper.make_node("Div", ["sum_of_maps", "some_share"], [CLASS_ACTIVATION]),
    ]


def _check_operators(models: Sequence[onnx.ModelProto]) -> None:
    first, *others = [{entry.domain: entry.version for entry in model.opset_import} for model in models]
    for number, versions in enumerate(others, 2):
        for domain in first.keys() & versions.keys():
            if first[domain] != versions[domain]:
                raise GateError(
                    f"the first model was exported for version {first[domain]} of the operators of "
                    f"{domain or 'ai.onnx'}, model {number} for version {versions[domain]}; export both anew"
                )


def _prefix(number: int) -> str:
    return f"member_{number}_"


def _weight(number: int) -> str:
    return f"weight_{number}"
