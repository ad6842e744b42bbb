"""What the colours of a training part are like, for the card."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.images.datasets import EvaluationImages
from zoo.card import CHANNELS, ColumnStatistics, Distribution


def channel_statistics(images: EvaluationImages) -> dict[str, ColumnStatistics]:
    """Distribution of each colour channel, 0 to 255, of the pixels that a graph would take of these images.

    Of the crop, then: what photographs show in their middle is brighter than what is around it.
    """
    counts = np.zeros((3, 256), np.int64)
    for item in range(len(images)):
        pixels = images.pixels(item)
        for channel in range(3):
            counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
    return {name: _statistics(counts[channel]) for channel, name in enumerate(CHANNELS)}


def _statistics(histogram: NDArray[np.int64]) -> ColumnStatistics:
    values = np.arange(256)
    mean = float(np.average(values, weights=histogram))
    std = float(np.sqrt(np.average((values - mean) ** 2, weights=histogram)))
    used = np.flatnonzero(histogram)
    return ColumnStatistics(
        mean=round(mean, 3),
        std=round(std, 3),
        min=float(used[0]),
        max=float(used[-1]),
        distribution=Distribution.of_counts(used, histogram[used]),
    )
