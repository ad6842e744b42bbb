"""Whether a classifier is right as often as it says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ReliabilityBin(NamedTuple):
    """Answers of similar confidence."""

    confidence: float
    """Mean probability of the given answers."""
    accuracy: float
    items: int


def reliability(probabilities: NDArray[np.float32], correct: NDArray[np.bool_], bins: int = 10) -> list[ReliabilityBin]:
    """The answers in equally wide bins of confidence; empty ones are left out.

    Args:
        probabilities: [N, K].
        correct: whether the most probable class is the right one, [N].
        bins: of the range from 0 to 1.
    """
    confidence = probabilities.max(1).astype(np.float64)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        ReliabilityBin(float(confidence[rows].mean()), float(correct[rows].mean()), int(rows.sum()))
        for rows in (which == number for number in range(bins))
        if rows.any()
    ]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Mean gap between confidence and accuracy, weighted by count: the expected calibration error."""
    total = sum(part.items for part in bins)
    return sum(abs(part.confidence - part.accuracy) * part.items for part in bins) / total
