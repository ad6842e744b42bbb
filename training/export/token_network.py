"""A tokenizer and the network that takes its ids, joined into one ONNX model."""

from __future__ import annotations

import onnx
from onnx import compose

from training.data.texts.tokens import IDS
from training.export.recurrent import PRODUCER


def join_network(tokenizer: onnx.ModelProto, network: onnx.ModelProto) -> onnx.ModelProto:
    """Text in, answers out; both for the same version of the operators."""
    joined = compose.merge_models(tokenizer, network, io_map=[(IDS, IDS)])
    name_operators_once(joined)
    joined.producer_name = PRODUCER
    onnx.checker.check_model(joined)
    return joined


def name_operators_once(model: onnx.ModelProto) -> None:
    """Joined models may name a set of operators twice, which some tools refuse and others crash on."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
