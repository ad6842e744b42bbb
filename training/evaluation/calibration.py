"""Whether a classifier is right as often as it says, and the temperature that makes it so.

Temperature scaling divides all logits by one number: probabilities become less or more sure, the answers stay.
(C. Guo et al., "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.evaluation.classification import ClassificationReport
from zoo.card import Calibration


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


@torch.enable_grad()
def fit_temperature(logits_NK: Tensor, classes_N: Tensor) -> float:
    """The number to divide logits by that minimises the log loss on held-out items.

    Its logarithm has a standard normal prior, which counts as much as a single item: were all of a few items right, the
    log loss alone would make the classifier infinitely sure.

    Args:
        logits_NK: of items that the classifier was not trained on.
        classes_N: their true classes.
    """
    logits_NK = logits_NK.double()
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithm], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits_NK / logarithm.exp(), classes_N)
        loss = loss + logarithm.square() / (2 * len(classes_N))
        torch.autograd.backward(loss)
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return float(logarithm.detach().exp())


def without_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """The probabilities [N, K] that a classifier gave before its logits were divided by a temperature."""
    logarithms = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)) * temperature
    powers = np.exp(logarithms - logarithms.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def describe_calibration(temperature: float, test: ClassificationReport) -> Calibration:
    """For a card: what the temperature changed on the test part.

    Args:
        temperature: fitted on the validation part.
        test: of the published graph, which has the temperature in it.
    """
    before = without_temperature(test.probabilities, temperature)
    errors = [calibration_error(reliability(values, test.correct)) for values in (before, test.probabilities)]
    return Calibration(
        temperature=round(temperature, 5), error_before=round(errors[0], 5), error_after=round(errors[1], 5)
    )
