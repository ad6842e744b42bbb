"""What two parts of a data set have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Neighbour(NamedTuple):
    """The item of the other part that is most like an item."""

    item: int
    similarity: float
    """From 0 to 1, which is the same."""


@dataclass(frozen=True)
class Overlap:
    """Near-duplicates of the items of one part in another one; items are counted from 0 in their parts."""

    nearest: dict[int, Neighbour]
    """Of each item that has any."""
    others: frozenset[int]
    """All items of the other part that are near to any."""
