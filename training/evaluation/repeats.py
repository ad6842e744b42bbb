"""What a few repetitions of a training say: their mean, and how far it may be from that of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from training.evaluation.significance import Interval


class Repeated(NamedTuple):
    """A number that was measured several times."""

    mean: float
    interval: Interval | None
    """Student's 95 % interval of the mean; None: it was measured once, or never."""
    p_value: float | None
    """Chance of a mean as far from 0, were it 0 (Student's t test)."""


def repeated(values: Sequence[float]) -> Repeated:
    """Mean of some measurements, as if they were independent.

    Folds share most of their training data, so over them the interval is somewhat too narrow (Y. Bengio and
    Y. Grandvalet, "No Unbiased Estimator of the Variance of K-Fold Cross-Validation", 2004).
    """
    count, mean = len(values), float(np.mean(values)) if values else float("nan")
    if count < 2:
        return Repeated(mean, None, None)
    error = float(np.std(values, ddof=1)) / count**0.5
    half = float(stats.t.ppf(0.975, count - 1)) * error
    if error == 0:
        return Repeated(mean, Interval(mean, mean), float(mean == 0))
    return Repeated(mean, Interval(mean - half, mean + half), 2 * float(stats.t.sf(abs(mean) / error, count - 1)))
