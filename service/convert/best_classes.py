"""The classes that are named, of all that a model knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CLASSES_FOR_EACH = 20
"""Where there are more of them for each one that is wanted, looking for the best one again and again beats sorting."""


def best_classes(scores_NK: NDArray[Any], top_k: int) -> NDArray[np.intp]:
    """Indices of the highest scores of each row, best first; of equal ones, the lower index first: [N, min(top_k, K)].

    A score that is no number counts as the lowest.
    """
    if scores_NK.shape[1] <= _CLASSES_FOR_EACH * top_k or not np.isfinite(scores_NK).all():
        return np.argsort(-scores_NK, axis=1, kind="stable")[:, :top_k]
    left_NK, rows_N = scores_NK.copy(), np.arange(len(scores_NK))
    best_NT = np.empty((len(scores_NK), top_k), np.intp)
    for place in range(top_k):
        best_NT[:, place] = left_NK.argmax(axis=1)
        left_NK[rows_N, best_NT[:, place]] = -np.inf
    return best_NT
