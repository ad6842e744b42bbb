"""The best classes are those that a stable sort finds, however many there are."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.convert.best_classes import best_classes

SCORES = st.sampled_from([0.0, 0.25, 0.5, -1.0, math.nan, math.inf, -math.inf])


@given(st.data(), st.integers(1, 3), st.integers(1, 70), st.integers(1, 6))
def test_the_highest_first_and_of_equal_ones_the_lower_index(
    data: st.DataObject, rows: int, classes: int, top_k: int
) -> None:
    finite = st.sampled_from([0.0, 0.25, 0.5, -1.0]) if data.draw(st.booleans()) else SCORES
    scores = data.draw(arrays(np.float32, (rows, classes), elements=finite))
    before = scores.copy()
    found = best_classes(scores, top_k).tolist()
    for row, best in zip(scores.tolist(), found, strict=True):
        order = sorted(range(classes), key=lambda index: (math.isnan(row[index]), -row[index], index))
        assert best == order[:top_k]
    assert np.array_equal(scores, before, equal_nan=True)
