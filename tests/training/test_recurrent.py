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


class Carrying(torch.nn.Module):
    """The layer with its state as inputs and outputs."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs, after = self.layer.carry(inputs, state)
        return outputs, *after


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_onnx_nodes_go_on_from_a_state(cell: CellKind) -> None:
    torch.manual_seed(0)
    network = Carrying(Recurrent(cell, FEATURES, 7, layers=2)).eval()
    names = [f"state_{part}" for part in range(2 if cell == "lstm" else 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (torch.randn(3, 1, FEATURES), *(torch.zeros(2, 3, 7) for _ in names)),
            dynamo=True,
            dynamic_shapes=({0: "batch"}, tuple({1: "batch"} for _ in names)),
            input_names=["inputs", *names],
            output_names=["outputs", *(f"next_{name}" for name in names)],
            verbose=False,
        )
    assert program is not None
    run = make_run(open_session(program.model_proto.SerializeToString()))
    inputs, state = torch.randn(4, 5, FEATURES), {name: np.zeros((2, 4, 7), np.float32) for name in names}
    with torch.no_grad():
        expected = network.layer(inputs).numpy()
    for step in range(5):
        answer = run({"inputs": inputs[:, step : step + 1].numpy(), **state})
        np.testing.assert_allclose(answer["outputs"][:, 0], expected[:, step], atol=1e-6)
        state = {name: answer[f"next_{name}"] for name in names}


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_recurrent_dropout_is_one_mask_for_all_steps(cell: CellKind) -> None:
    torch.manual_seed(0)
    layer = Recurrent(cell, FEATURES, 7, recurrent_dropout=0.5)
    inputs = torch.randn(2, 6, FEATURES)
    whole = layer.eval()(inputs)
    torch.manual_seed(3)
    got = layer.train()(inputs)
    assert not torch.allclose(got, whole)
    torch.manual_seed(3)
    mask = torch.nn.functional.dropout(torch.ones(7), 0.5)
    step_by_step, state = [], None
    with torch.no_grad():
        layer.stack.weight_hh_l0.mul_(mask)
        for step in range(6):
            outputs, state = layer.eval().carry(inputs[:, step : step + 1], state)
            step_by_step.append(outputs)
    torch.testing.assert_close(torch.cat(step_by_step, 1), got.detach())
    got.sum().backward()
    assert layer.stack.weight_hh_l0.grad is not None
    dropped = layer.stack.weight_hh_l0.grad[:, mask == 0]
    assert len(mask) > (mask == 0).sum() > 0
    assert not dropped.any()
