"""How much each of several models should count in their mean, found on data that none of them was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 2000


def fit_class_weights(truth_MN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights [M] that minimise the log loss of the mean of M classifiers: expectation maximisation of a mixture.

    The loss is convex in them, so there is one minimum; it is reached from equal weights.

    Args:
        truth_MN: probability that each classifier gives to the true class of each item.
    """
    weights = np.full(len(truth_MN), 1 / len(truth_MN))
    safe = np.maximum(truth_MN, 1e-12)
    for _ in range(_ROUNDS):
        weights = weights * (safe / (weights @ safe)).mean(1)
    return _tidied(weights)


def fit_forecast_weights(errors_MN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights [M] that minimise the mean squared error of the mean of M forecasters, by exponentiated gradients.

    The error of a mean is the mean of the errors, so the loss is a quadratic form of the weights, and convex.

    Args:
        errors_MN: of each forecaster, in units in which all count alike.
    """
    products = errors_MN @ errors_MN.T / errors_MN.shape[1]
    products = products / max(float(np.abs(products).max()), np.finfo(np.float64).tiny)
    weights = np.full(len(errors_MN), 1 / len(errors_MN))
    for _ in range(_ROUNDS):
        weights = weights * np.exp(-(products @ weights))
        weights = weights / weights.sum()
    return _tidied(weights)


def _tidied(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded, so that a card can name them, and summing to 1."""
    rounded = np.round(weights / weights.sum(), 4)
    return np.asarray(rounded / rounded.sum())
