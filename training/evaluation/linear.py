"""The linear forecast that a network has to beat: ridge regression from the window to all future values at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.series.windows import Windows
from zoo.card import FORECAST, SERIES_INPUT
from zoo.golden import Run, Tensors

_MOST_WINDOWS, _MOST_INPUTS = 8192, 1024
"""Evenly chosen training windows, and inputs: what is beyond is the oldest past. They keep the fit at seconds."""
_PENALTIES = (1e-4, 1e-2, 1.0)
"""Of squared weights, per window; the validation part chooses."""


def linear_forecaster(train: Windows, validation: Windows) -> Run:
    """Fit on the training part, choose the penalty on the validation part."""
    history, future = _sample(train)
    mean, std = history.mean((0, 1)), np.maximum(history.std((0, 1)), 1e-12)
    inputs = _inputs(history, mean, std)
    outputs = ((future - mean[: train.targets]) / std[: train.targets]).reshape(len(future), -1)
    gram, moments = inputs.T @ inputs / len(inputs), inputs.T @ outputs / len(inputs)
    rules = [
        _rule(np.linalg.solve(gram + penalty * np.eye(len(gram)), moments), mean, std, train.targets)
        for penalty in _PENALTIES
    ]
    held_history, held_future = _sample(validation)

    def error(rule: Run) -> float:
        difference = rule({SERIES_INPUT: held_history})[FORECAST].astype(np.float64) - held_future
        return float((np.abs(difference) / std[: train.targets]).mean())

    return min(rules, key=error)


def _rule(weights: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64], targets: int) -> Run:
    def run(inputs: Tensors) -> Tensors:
        scaled = _inputs(inputs[SERIES_INPUT].astype(np.float64), mean, std) @ weights
        forecast = scaled.reshape(len(scaled), -1, targets) * std[:targets] + mean[:targets]
        return {FORECAST: forecast.astype(np.float32)}

    return run


def _inputs(history: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]) -> NDArray[np.float64]:
    """The newest past, scaled and flat, and a one: [N, inputs + 1]."""
    steps = max(1, min(history.shape[1], _MOST_INPUTS // history.shape[2]))
    scaled = ((history[:, -steps:] - mean) / std).reshape(len(history), -1)
    return np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)


def _sample(windows: Windows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = np.linspace(0, len(windows) - 1, min(len(windows), _MOST_WINDOWS)).astype(int).tolist()
    history, future = windows.__getitems__(rows)
    return history.numpy().astype(np.float64), future.numpy().astype(np.float64)
