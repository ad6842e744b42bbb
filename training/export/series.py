"""The ONNX file of a forecaster, scaler included."""

from __future__ import annotations

import onnx
import torch
from torch import nn

from training.export.recurrent import export_recurrent
from zoo.card import FORECAST, SERIES_INPUT
from zoo.golden import Run, Tensors


def export_series(network: nn.Module, window: int, features: int) -> bytes:
    """Serialise `history` float32 [N, window, features] -> `forecast` float32 [N, horizon, targets].

    Args:
        network: computes that, on the CPU.
        window: steps of past; the graph takes no other number.
        features: columns.
    """
    batch = next(size for size in range(3, 9) if size not in (window, features))
    model = export_recurrent(
        network,
        torch.zeros(batch, window, features),
        axes={0: "batch"},
        inputs=[SERIES_INPUT],
        outputs=[FORECAST],
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def make_torch_run(network: nn.Module) -> Run:
    """The trained model with the inputs and outputs of the published graph, computed by torch."""
    network.eval()

    def run(inputs: Tensors) -> Tensors:
        with torch.inference_mode():
            return {FORECAST: network(torch.from_numpy(inputs[SERIES_INPUT])).numpy()}

    return run
