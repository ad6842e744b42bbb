"""How sure a difference is that a test part of some hundred items shows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  # of a 95 % interval


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def share_interval(hits: int, count: int) -> Interval:
    """Of a share, such as an accuracy; Wilson's, which is right for few items and near 0 and 1, too."""
    share, spread = hits / count, Z**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


class PairedDifference(NamedTuple):
    """By how much one classifier is better than another on the same items."""

    mean: float
    interval: Interval
    p_value: float
    """Chance of so unequal a number of items that only one of them gets right, were they equally good; McNemar's exact
    test."""


def paired_difference(correct: NDArray[np.bool_], other: NDArray[np.bool_]) -> PairedDifference:
    """Compare two classifiers by which items [N] each gets right."""
    gains = correct.astype(np.float64) - other
    # A single item says nothing about others.
    half = Z * float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 1.0
    mean = float(gains.mean())
    wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
    tail = sum(math.comb(wins + losses, k) for k in range(min(wins, losses) + 1)) / 2 ** (wins + losses)
    return PairedDifference(mean, Interval(mean - half, mean + half), min(1.0, 2 * tail))
