"""Errors of a forecaster on a data set, through any implementation of its graph: torch, ONNX Runtime, naive rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo.card import FORECAST, SERIES_INPUT
from zoo.golden import Run, Tensors

_DAY_SECONDS = 86_400

Errors = NDArray[np.float32]
"""Forecast minus what came, of each window, step and target: [windows, horizon, targets], physical units."""


@dataclass(frozen=True)
class ForecastReport:
    """How far forecasts are from what came, in physical units."""

    mae: NDArray[np.float64]
    """Mean absolute error of each step and target, [horizon, targets]."""
    rmse: NDArray[np.float64]
    """Root of the mean squared error, [horizon, targets]."""
    windows: int
    """Number of forecasts."""

    @classmethod
    def of(cls, errors: Errors) -> Self:
        """The report of these errors."""
        absolute = np.abs(errors)
        rmse = np.sqrt(np.square(absolute).mean(0, dtype=np.float64))
        return cls(absolute.mean(0, dtype=np.float64), rmse, len(errors))

    def mae_of(self, target: int) -> float:
        """Mean absolute error of a target over all steps."""
        return float(self.mae[:, target].mean())

    def scaled_mae(self, std: Sequence[float]) -> float:
        """Mean absolute error over all steps and targets, in standard deviations of the targets."""
        return float((self.mae / std).mean())

    def scaled_mse(self, std: Sequence[float]) -> float:
        """Mean squared error likewise."""
        return float(np.square(self.rmse / std).mean())

    def rmse_of(self, target: int) -> float:
        """Root mean squared error of a target over all steps."""
        return float(np.sqrt(np.square(self.rmse[:, target]).mean()))


def shortened(error: float) -> float:
    """An error for a card, seven digits of it: a fixed number of decimals would make errors in small units 0."""
    return float(f"{error:.7g}")


def forecast_errors(run: Run, batches: Iterable[tuple[Tensor, Tensor]]) -> Errors:
    """Run a forecaster over `(history, future)` batches and compare its answers with the future."""
    return np.concatenate(
        [
            run({SERIES_INPUT: history.numpy()})[FORECAST].astype(np.float32) - future.numpy()
            for history, future in batches
        ]
    )


def forecast_report(run: Run, batches: Iterable[tuple[Tensor, Tensor]]) -> ForecastReport:
    """The report of these errors."""
    return ForecastReport.of(forecast_errors(run, batches))


def naive_forecasters(lags: Mapping[str, int], *, horizon: int, targets: int) -> dict[str, Run]:
    """The rules to beat: what was a lag before."""
    return {name: _repeat(lag, horizon, targets) for name, lag in lags.items()}


def naive_lags(*, window: int, step_seconds: int, season: int | None = None) -> dict[str, int]:
    """How many steps the naive rules look back: last value, and same time a season ago as far as the window reaches."""
    lags = {"last_value": 1}
    for name, seconds in (("same_time_yesterday", _DAY_SECONDS), ("same_time_last_week", 7 * _DAY_SECONDS)):
        if seconds % step_seconds == 0 and seconds > step_seconds:
            lags[name] = seconds // step_seconds
    if season is not None and season not in lags.values():
        lags["same_time_last_season"] = season
    return {name: lag for name, lag in lags.items() if lag <= window}


def _repeat(lag: int, horizon: int, targets: int) -> Run:
    """Forecast what was `lag` steps before; where that lies in the future too, two, three.. lags before."""

    def run(inputs: Tensors) -> Tensors:
        history = inputs[SERIES_INPUT]
        rows = history.shape[1] - lag + np.arange(horizon) % lag
        return {FORECAST: history[:, rows, :targets]}

    return run
