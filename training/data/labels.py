"""The order of classes: a function of their labels alone, so that each run numbers them alike."""

from __future__ import annotations

import math
from collections.abc import Iterable


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels; numbers in the order of their values, words alphabetically."""
    words = sorted(set(labels))
    values = [_value(word) for word in words]
    return tuple(words) if any(map(math.isnan, values)) else tuple(sorted(words, key=float))


def _value(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
