"""What the training inputs were like, as drift is measured against it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from zoo.card.base import Part, check_shares


class Distribution(Part):
    """A histogram: how the values of a quantity are shared among bins, as drift is measured against it."""

    edges: Annotated[tuple[float, ...], Field(min_length=1, max_length=99)]
    """Between the bins, ascending; a value on an edge is in the bin above it."""
    shares: tuple[float, ...]
    """Of the values, one more than there are edges; they sum to 1."""

    @model_validator(mode="after")
    def _is_a_histogram(self) -> Self:
        if any(left >= right for left, right in pairwise(self.edges)):
            raise ValueError("edges must ascend")
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 1} shares, there are {len(self.shares)}")
        check_shares("shares", self.shares)
        return self

    @classmethod
    def of(cls, values: ArrayLike, bins: int = 10) -> Self | None:
        """Bins of about equally many values; None where all values are the same."""
        return cls.of_counts(*np.unique(np.asarray(values, np.float64), return_counts=True), bins=bins)

    @classmethod
    def of_counts(cls, values: ArrayLike, counts: ArrayLike, bins: int = 10) -> Self | None:
        """The same of values that differ, ascending, and how often each occurs.

        A value that fills more than one bin makes fewer of them, but at least two.
        """
        distinct, occurrences = np.asarray(values, np.float64), np.asarray(counts, np.float64)
        if len(distinct) < 2:
            return None
        below = (np.cumsum(occurrences) - occurrences) / occurrences.sum()
        cuts = np.unique(np.searchsorted(below, np.arange(1, bins) / bins).clip(max=len(distinct) - 1))
        shares = np.add.reduceat(occurrences, [0, *cuts]) / occurrences.sum()
        return cls(edges=tuple(distinct[cuts].tolist()), shares=tuple(shares.tolist()))


class ColumnStatistics(Part):
    """Distribution of one quantity over the training inputs."""

    mean: float
    std: float = Field(ge=0)
    min: float
    max: float
    distribution: Distribution | None = None
    """Of the same values; without it drift is told by the mean only."""

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Statistics of all values of an array."""
        sample = np.asarray(values, np.float64).ravel()
        return cls(
            mean=float(sample.mean()),
            std=float(sample.std()),
            min=float(sample.min()),
            max=float(sample.max()),
            distribution=Distribution.of(sample),
        )
