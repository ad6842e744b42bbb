"""Texts are composed (NFC) and bounded."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import InputError
from zoo.text import prepare_text


@given(st.text(min_size=1).filter(str.strip))
def test_any_visible_text_is_composed(text: str) -> None:
    assert unicodedata.is_normalized("NFC", prepare_text(text))


def test_decomposed_hangul_is_the_same_as_composed() -> None:
    assert prepare_text(unicodedata.normalize("NFD", "재미있다")) == "재미있다"


@pytest.mark.parametrize("text", ["", "  ", "\n\t\u3000"])
def test_nothing_visible_is_empty(text: str) -> None:
    with pytest.raises(InputError, match="is empty") as error:
        prepare_text(text)
    assert error.value.reason == "TEXT_EMPTY"


def test_a_long_text_is_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match="11 characters, the limit is 10") as error:
        prepare_text("x" * 11, max_characters=10)
    assert error.value.reason == "TEXT_TOO_LONG"
