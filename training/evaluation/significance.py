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
    wins, losses = int((correct & ~other).sum()), int((other & ~correct).sum())
    tail = sum(math.comb(wins + losses, k) for k in range(min(wins, losses) + 1)) / 2 ** (wins + losses)
    interval = _difference_interval(int((correct & other).sum()), wins, losses, len(correct))
    return PairedDifference((wins - losses) / len(correct), interval, min(1.0, 2 * tail))


def _difference_interval(both: int, wins: int, losses: int, count: int) -> Interval:
    """Of a difference of two shares of the same items, which never leaves -1 to 1: the errors of both, as Wilson's
    intervals have them, put together with their correlation (R. G. Newcombe, "Improved confidence intervals for the
    difference between binomial proportions based on paired data", Statistics in Medicine 17, 1998, method 10).

    Args:
        both: items that both get right.
        wins: those that only the first gets right.
        losses: those that only the second gets right.
        count: all items.
    """
    hits = (both + wins, both + losses)
    share, other_share = (hit / count for hit in hits)
    own, others = (share_interval(hit, count) for hit in hits)
    together = both * (count - both - wins - losses) - wins * losses
    corrected = max(together - count / 2, 0) if together > 0 else together  # for continuity
    apart = math.sqrt(math.prod(hit * (count - hit) for hit in hits))
    correlation = corrected / apart if apart else 0.0

    def joined(error: float, other_error: float) -> float:
        return math.sqrt(error**2 + other_error**2 - 2 * correlation * error * other_error)

    mean = (wins - losses) / count
    low = mean - joined(share - own.low, others.high - other_share)
    high = mean + joined(own.high - share, other_share - others.low)
    return Interval(max(-1.0, low), min(1.0, high))
