"""The recurrent layer computes the same in PyTorch and as an ONNX node, and ignores what is behind the end."""

import warnings

import numpy as np
import pytest
import torch

from training.models.recurrent import CellKind, Recurrent
from zoo.runtime import make_run, open_session

FEATURES = 5


def export(layer: Recurrent, *, with_lengths: bool) -> bytes:
    example = (torch.randn(3, 4, FEATURES), torch.tensor([4, 2, 1]))[: 2 if with_lengths else 1]
    shapes = ({0: "batch", 1: "time"}, {0: "batch"})[: len(example)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            layer.eval(),
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=["inputs", "lengths"][: len(example)],
            output_names=["outputs"],
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (2, True)])
def test_onnx_node_equals_torch_under_padding(cell: CellKind, layers: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    layer = Recurrent(cell, FEATURES, 7, layers=layers, bidirectional=bidirectional)
    run = make_run(open_session(export(layer, with_lengths=True)))
    for batch, steps in [(1, 1), (2, 9), (5, 3)]:
        inputs = torch.randn(batch, steps, FEATURES)
        lengths = torch.randint(1, steps + 1, (batch,))
        with torch.no_grad():
            expected = layer(inputs, lengths).numpy()
        got = run({"inputs": inputs.numpy(), "lengths": lengths.numpy()})["outputs"]
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_onnx_node_equals_torch_without_lengths(cell: CellKind) -> None:
    torch.manual_seed(0)
    layer = Recurrent(cell, FEATURES, 7)
    run = make_run(open_session(export(layer, with_lengths=False)))
    inputs = torch.randn(2, 6, FEATURES)
    with torch.no_grad():
        expected = layer(inputs).numpy()
    np.testing.assert_allclose(run({"inputs": inputs.numpy()})["outputs"], expected, atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_padding_is_not_seen(cell: CellKind) -> None:
    torch.manual_seed(0)
    layer = Recurrent(cell, FEATURES, 7, layers=2, bidirectional=True).eval()
    inputs, lengths = torch.randn(2, 8, FEATURES), torch.tensor([8, 3])
    dirty = inputs.clone()
    dirty[1, 3:] = 1e6
    with torch.no_grad():
        clean_outputs, dirty_outputs = layer(inputs, lengths), layer(dirty, lengths)
        alone = layer(inputs[1:, :3], lengths[1:])
    torch.testing.assert_close(dirty_outputs, clean_outputs)
    torch.testing.assert_close(clean_outputs[1:, :3], alone)
    assert not clean_outputs[1, 3:].any()
