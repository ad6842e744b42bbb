"""The drawings of a report; matplotlib without its windows and global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.evaluation.calibration import ReliabilityBin


def learning_curves(history: Sequence[dict[str, float]], best_epoch: int) -> Figure:
    """Losses and score over the epochs, the best one marked."""
    figure = Figure(figsize=(9, 3.2))
    figure.subplots_adjust(wspace=0.3)
    losses, score = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for key, label in (("train_loss", "training"), ("validation_loss", "validation")):
        losses.plot(epochs, [row[key] for row in history], marker=".", label=label)
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend()
    score.plot(epochs, [row["score"] for row in history], marker=".", color="tab:green")
    score.set(xlabel="epoch", ylabel="validation score")
    for axes in (losses, score):
        axes.axvline(best_epoch, color="grey", linestyle=":")
    return figure


def confusion_matrix(confusion: NDArray[np.int64]) -> Figure:
    """Shares of each true class (rows) that were taken for each class (columns), by number: for many classes."""
    figure = Figure(figsize=(14, 14))
    axes = figure.subplots()
    axes.imshow(confusion / np.maximum(confusion.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def reliability_diagram(curves: Mapping[str, Sequence[ReliabilityBin]]) -> Figure:
    """Accuracy over confidence, a curve by name; a calibrated classifier lies on the diagonal."""
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for name, bins in curves.items():
        confidence, accuracy = [part.confidence for part in bins], [part.accuracy for part in bins]
        largest = max(part.items for part in bins)
        (line,) = axes.plot(confidence, accuracy, label=name)
        sizes = [20 + 180 * part.items / largest for part in bins]
        axes.scatter(confidence, accuracy, s=sizes, color=line.get_color(), alpha=0.7)
    axes.legend()
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    return figure
