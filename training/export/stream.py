"""The ONNX file of a forecaster of a stream: one row and the state in, a forecast and the next state out."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn

from training.export.recurrent import export_recurrent
from training.models.stream import StreamForecaster
from zoo.card import FORECAST, SERIES_INPUT, StateTensor
from zoo.golden import Run, Tensors

_NAMES = ("state", "cells")
"""Of what the layers remember; only an LSTM has cells."""


class _Step(nn.Module):
    """One row [N, 1, F] and the state [N, layers, hidden] -> forecast [N, horizon, targets], the next state."""

    def __init__(self, network: StreamForecaster) -> None:
        super().__init__()
        self.network = network

    def forward(self, history: Tensor, state: Tensor, cells: Tensor | None = None) -> tuple[Tensor, ...]:
        before = tuple(part.transpose(0, 1) for part in (state, cells) if part is not None)
        forecast, after = self.network.carry(history, before)
        return forecast[:, 0], *(part.transpose(0, 1) for part in after)


def state_tensors(network: StreamForecaster) -> tuple[StateTensor, ...]:
    """What the graph carries from row to row, for the card."""
    layers = network.recurrent
    shape = (layers.stack.num_layers, layers.hidden_size)
    names = _NAMES if layers.cell == "lstm" else _NAMES[:1]
    return tuple(StateTensor(input=name, output=f"next_{name}", shape=shape) for name in names)


def export_stream(network: StreamForecaster, features: int) -> bytes:
    """Serialise `history` float32 [N, 1, features] and the state -> `forecast` float32 [N, horizon, targets], its next.

    Args:
        network: on the CPU.
        features: columns.
    """
    states = state_tensors(network)
    taken = (features, network.horizon, network.targets, *states[0].shape)
    batch = next(size for size in range(3, 20) if size not in taken)
    model = export_recurrent(
        _Step(network),
        (torch.zeros(batch, 1, features), *(torch.zeros(batch, *state.shape) for state in states)),
        axes={0: "batch"},
        inputs=[SERIES_INPUT, *(state.input for state in states)],
        outputs=[FORECAST, *(state.output for state in states)],
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def make_step_run(network: StreamForecaster) -> Run:
    """The trained model with the inputs and outputs of the published graph, computed by torch."""
    step, states = _Step(network).eval(), state_tensors(network)
    inputs = [SERIES_INPUT, *(state.input for state in states)]
    names = [FORECAST, *(state.output for state in states)]

    def run(tensors: Tensors) -> Tensors:
        with torch.inference_mode():
            outputs = step(*(torch.from_numpy(tensors[name]) for name in inputs))
        return {name: value.numpy() for name, value in zip(names, outputs, strict=True)}

    return run
