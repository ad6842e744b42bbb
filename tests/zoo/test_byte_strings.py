"""String tensors on the wire."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo import byte_strings


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_strings_come_back_as_they_went(words: list[str]) -> None:
    data = byte_strings.encode(np.array(words, object))
    back = byte_strings.decode(byte_strings.split(data, len(words)), (len(words),))
    assert back.tolist() == words


@given(st.binary(max_size=64), st.integers(0, 8))
def test_any_buffer_is_cut_exactly_or_refused(data: bytes, count: int) -> None:
    try:
        elements = byte_strings.split(data, count)
    except ValueError:
        return
    assert sum(4 + len(element) for element in elements) == len(data)
    assert len(elements) == count
