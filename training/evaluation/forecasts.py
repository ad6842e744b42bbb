"""Errors of a forecaster on a data set, through any implementation of its graph: torch, ONNX Runtime, naive rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo.card import FORECAST, SERIES_INPUT
from zoo.golden import Run, Tensors

_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class ForecastReport:
    """How far forecasts are from what came, in physical units."""

    mae: NDArray[np.float64]
    """Mean absolute error of each step and target, [horizon, targets]."""
    rmse: NDArray[np.float64]
    """Root of the mean squared error, [horizon, targets]."""
    windows: int
    """Number of forecasts."""

    def mae_of(self, target: int) -> float:
        """Mean absolute error of a target over all steps."""
        return float(self.mae[:, target].mean())

    def rmse_of(self, target: int) -> float:
        """Root mean squared error of a target over all steps."""
        return float(np.sqrt(np.square(self.rmse[:, target]).mean()))


def forecast_report(run: Run, batches: Iterable[tuple[Tensor, Tensor]]) -> ForecastReport:
    """Run a forecaster over `(history, future)` batches and compare its answers with the future."""
    absolute: NDArray[np.float64] | float = 0.0
    squared: NDArray[np.float64] | float = 0.0
    windows = 0
    for history, future in batches:
        error = run({SERIES_INPUT: history.numpy()})[FORECAST].astype(np.float64) - future.numpy()
        absolute, squared = absolute + np.abs(error).sum(0), squared + np.square(error).sum(0)
        windows += len(error)
    return ForecastReport(np.asarray(absolute / windows), np.sqrt(squared / windows), windows)


def naive_forecasters(
    *, window: int, horizon: int, targets: int, step_seconds: int, season: int | None = None
) -> dict[str, Run]:
    """The rules to beat: last value, and same time a season ago as far as the window reaches back."""
    lags = {"last_value": 1}
    for name, seconds in (("same_time_yesterday", _DAY_SECONDS), ("same_time_last_week", 7 * _DAY_SECONDS)):
        if seconds % step_seconds == 0 and seconds > step_seconds:
            lags[name] = seconds // step_seconds
    if season is not None and season not in lags.values():
        lags["same_time_last_season"] = season
    return {name: _repeat(lag, horizon, targets) for name, lag in lags.items() if lag <= window}


def _repeat(lag: int, horizon: int, targets: int) -> Run:
    """Forecast what was `lag` steps before; where that lies in the future too, two, three.. lags before."""

    def run(inputs: Tensors) -> Tensors:
        history = inputs[SERIES_INPUT]
        rows = history.shape[1] - lag + np.arange(horizon) % lag
        return {FORECAST: history[:, rows, :targets]}

    return run
