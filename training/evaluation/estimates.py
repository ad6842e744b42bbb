"""Metrics of a model with their 95 % intervals: what another test part of the same size might have shown.

Items of a classifier are independent, so its accuracy has Wilson's interval, its log loss that of a mean; its F1 is
drawn anew many times from its confusion matrix (bootstrap). Neighbouring forecasts share most of their future, so they
are drawn in blocks that do not overlap (E. Carlstein, "The Use of Subseries Values for Estimating the Variance of a
General Statistic from a Stationary Sequence", 1986).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.evaluation.calibration import calibration_error, reliability
from training.evaluation.classification import ClassificationReport
from training.evaluation.forecasts import Errors
from training.evaluation.significance import Interval, Z, share_interval

_DRAWS = 1000
_FEWEST_BLOCKS = 8
"""Of fewer blocks the spread cannot be told."""
_TINY = 1e-12


class Estimate(NamedTuple):
    """A metric as it was measured."""

    value: float
    interval: Interval | None = None
    """None: there is none, or too few items to tell it."""


def classifier_estimates(report: ClassificationReport) -> dict[str, Estimate]:
    """Accuracy, macro F1, log loss and expected calibration error."""
    correct = report.correct
    truth = report.probabilities[np.arange(len(correct)), report.targets].astype(np.float64)
    losses = -np.log(np.maximum(truth, _TINY))
    error = calibration_error(reliability(report.probabilities, correct))
    return {
        "accuracy": Estimate(report.accuracy, share_interval(int(correct.sum()), len(correct))),
        "macro_f1": Estimate(report.macro_f1, _f1_interval(report.confusion)),
        "log_loss": Estimate(report.log_loss, _mean_interval(losses)),
        "calibration_error": Estimate(error),
    }


def forecast_estimates(
    errors: Errors, targets: Sequence[str], std: Sequence[float], half_widths: NDArray[np.float64] | None = None
) -> dict[str, Estimate]:
    """Errors of each target, all of them in standard deviations, and the share that the prediction intervals cover.

    Args:
        errors: of windows in order of time, [windows, horizon, targets].
        targets: names; with several, that of a metric ends in its target.
        std: standard deviation of each target over the training part.
        half_widths: of the prediction intervals, [horizon, targets].
    """
    absolute = np.abs(errors.astype(np.float64))
    columns: dict[str, NDArray[np.float64]] = {}  # of each metric, a value per window; the metric is a mean of them
    for index, target in enumerate(targets):
        end = f"_{target}" if len(targets) > 1 else ""
        columns[f"mae{end}"] = absolute[:, :, index].mean(1)
        columns[f"rmse{end}"] = np.square(absolute[:, :, index]).mean(1)
        if half_widths is not None:
            columns[f"interval_coverage{end}"] = (absolute[:, :, index] <= half_widths[:, index]).mean(1)
    scaled = absolute / np.asarray(std)
    columns |= {"mae_scaled": scaled.mean((1, 2)), "mse_scaled": np.square(scaled).mean((1, 2))}
    block = block_length(errors)
    return {name: _block_estimate(values, block, root=name.startswith("rmse")) for name, values in columns.items()}


def block_length(errors: Errors) -> int:
    """Windows that are drawn together: as many as share futures, and more where there are many."""
    return max(int(errors.shape[1]), math.isqrt(len(errors)))


def difference_estimate(gains: NDArray[np.float64], block: int) -> Estimate:
    """Of a mean difference between two models, from that of each window in order of time, drawn in blocks."""
    return _block_estimate(gains, block)


def _mean_interval(values: NDArray[np.float64]) -> Interval | None:
    if len(values) < 2:
        return None
    half, mean = Z * float(values.std(ddof=1)) / math.sqrt(len(values)), float(values.mean())
    return Interval(mean - half, mean + half)


def _f1_interval(confusion: NDArray[np.int64]) -> Interval:
    items = int(confusion.sum())
    shares = confusion.ravel() / items
    draws = np.random.default_rng(0).multinomial(items, shares, _DRAWS).reshape(_DRAWS, *confusion.shape)
    hits, both = np.diagonal(draws, axis1=1, axis2=2), draws.sum(1) + draws.sum(2)
    f1 = np.where(both > 0, 2 * hits / np.maximum(both, 1), np.nan)
    # A class that a draw has neither in truth nor in answers does not count, as in the metric itself.
    return _middle(np.nanmean(f1, axis=1))


def _block_estimate(values: NDArray[np.float64], block: int, *, root: bool = False) -> Estimate:
    starts = np.arange(0, len(values), block)
    sums, sizes = np.add.reduceat(values, starts), np.diff([*starts, len(values)])
    mean = float(values.mean())
    value = math.sqrt(mean) if root else mean
    if len(starts) < _FEWEST_BLOCKS:
        return Estimate(value)
    drawn = np.random.default_rng(0).multinomial(len(starts), np.full(len(starts), 1 / len(starts)), _DRAWS)
    means = (drawn @ sums) / (drawn @ sizes)
    return Estimate(value, _middle(np.sqrt(means) if root else means))


def _middle(draws: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(float(low), float(high))
