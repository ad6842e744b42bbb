"""The forecast of gradient boosting (scikit-learn's histogram-based trees) that a network has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from training.data.series.windows import Windows
from zoo.card import FORECAST, SERIES_INPUT
from zoo.golden import Run, Tensors

_MOST_LAGS = 48
"""Of the newest past, as inputs of their own; what is older is seen at the lag of the season."""
_MOST_ROWS = 20_000
"""Pairs of a window and a step, evenly chosen. They keep the fit at seconds."""
_LEAVES = (7, 31)
"""Of a tree; the validation part chooses."""
_TREES = 100

Rows = NDArray[np.float64]


class _Pairs(NamedTuple):
    """Some steps of some windows."""

    history: Rows
    """[N, window, features]."""
    window: NDArray[np.int64]
    """Of each pair, [R], from 0 to N - 1."""
    step: NDArray[np.int64]
    """Of each pair, [R], from 0."""


def boosted_forecaster(train: Windows, validation: Windows, lags: Sequence[int]) -> Run:
    """Fit one model per target for all steps: from the newest past, the value at each lag and the step to the change.

    Args:
        train: to fit on.
        validation: chooses the size of the trees.
        lags: of the naive rules, in steps, none beyond the window.
    """
    models = [_fit(_sample(train), _sample(validation), target, lags) for target in range(train.targets)]

    def run(inputs: Tensors) -> Tensors:
        history = inputs[SERIES_INPUT].astype(np.float64)
        windows, steps = np.indices((len(history), train.horizon)).reshape(2, -1)
        pairs = _Pairs(history, windows, steps)
        columns = [
            model.predict(_inputs(pairs, target, lags)) + history[windows, -1, target]
            for target, model in enumerate(models)
        ]
        return {FORECAST: np.stack(columns, 1).reshape(-1, train.horizon, len(models)).astype(np.float32)}

    return run


def _fit(
    train: tuple[_Pairs, Rows], validation: tuple[_Pairs, Rows], target: int, lags: Sequence[int]
) -> HistGradientBoostingRegressor:
    inputs, held_out = (_inputs(pairs, target, lags) for pairs, _ in (train, validation))
    changes, expected = (
        future[:, target] - pairs.history[pairs.window, -1, target] for pairs, future in (train, validation)
    )
    models = [
        HistGradientBoostingRegressor(max_iter=_TREES, max_leaf_nodes=leaves, early_stopping=False, random_state=0)
        for leaves in _LEAVES
    ]
    return min(
        (model.fit(inputs, changes) for model in models),
        key=lambda model: float(np.abs(model.predict(held_out) - expected).mean()),
    )


def _inputs(pairs: _Pairs, target: int, lags: Sequence[int]) -> Rows:
    """The newest past of a target and its value at each lag, less its last value; the newest row of all; the step."""
    own = pairs.history[:, :, target] - pairs.history[:, -1:, target]
    seasonal = [own[pairs.window, own.shape[1] - lag + pairs.step % lag] for lag in lags if lag > 1]
    last_row = pairs.history[pairs.window, -1]
    return np.column_stack([own[pairs.window, -_MOST_LAGS:], *seasonal, last_row, pairs.step])


def _sample(windows: Windows) -> tuple[_Pairs, Rows]:
    """Evenly chosen windows, of each as many steps as make the rows full, in a fixed random order; and what came, [R,
    targets]."""
    per_window = max(1, min(windows.horizon, _MOST_ROWS // len(windows)))
    count = min(len(windows), _MOST_ROWS // per_window)
    rows = np.linspace(0, len(windows) - 1, count).astype(int)
    history, future = windows.__getitems__(rows.tolist())
    rng = np.random.default_rng(0)
    steps = np.concatenate([rng.choice(windows.horizon, per_window, replace=False) for _ in rows])
    which = np.repeat(np.arange(count), per_window)
    return _Pairs(history.numpy().astype(np.float64), which, steps), future.numpy().astype(np.float64)[which, steps]
