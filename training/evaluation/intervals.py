"""Prediction intervals by split conformal prediction: as wide as the errors on the validation part say.

The half width of a step and target is that quantile of the absolute errors which covers the wanted share of new ones,
if they come in the order of a lottery (V. Vovk et al., "Algorithmic Learning in a Random World", 2005). Forecasts of
neighbouring windows do not, and the newest time may differ from the one before, so the coverage on the test part says
what the promise was worth.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.evaluation.forecasts import Errors


def conformal_half_widths(errors: Errors, coverage: float) -> NDArray[np.float64] | None:
    """Half widths [horizon, targets] that cover a share of new errors; None: there are too few errors to say.

    Args:
        errors: of data that the model was not trained on.
        coverage: the share, between 0 and 1.
    """
    rank = math.ceil((len(errors) + 1) * coverage)
    if rank > len(errors):
        return None
    widths: NDArray[np.float64] = np.partition(np.abs(errors), rank - 1, axis=0)[rank - 1].astype(np.float64)
    return widths


def covered_share(errors: Errors, half_widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the errors that lie within their half width, by target: [targets]."""
    share: NDArray[np.float64] = covered_by_step(errors, half_widths).mean(0)
    return share


def covered_by_step(errors: Errors, half_widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same by step and target: [horizon, targets]."""
    share: NDArray[np.float64] = (np.abs(errors) <= half_widths).mean(0)
    return share
