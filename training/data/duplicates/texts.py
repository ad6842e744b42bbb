"""Near-duplicates among texts: those that differ in case, signs and white space only, or in a few characters.

The similarity is that of the sets of 4 successive characters (shingles): how many they share, of all that either has
(A. Broder, 1997). All pairs over the limit are found, without comparing all: sorted by rarity, two such sets share one
of their first few shingles (the prefix filter of R. Bayardo et al., "Scaling Up All Pairs Similarity Search", 2007).
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.duplicates.overlap import Neighbour, Overlap

_LEAST_SIMILARITY = 0.8
_SHINGLE = 4
_MOST_CHARACTERS = 500  # of a long text, its beginning stands for it
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd; products wrap around

Shingles = NDArray[np.int64]
"""Numbers of different shingles, the rarest first."""


def text_overlap(held_out: Sequence[str], others: Sequence[str]) -> Overlap:
    """Which of the one are near to which of the others."""
    here, there = _group(held_out), _group(others)
    forms = _shingles({**here, **there})
    index: defaultdict[int, list[str]] = defaultdict(list)
    for form in there:
        for shingle in _prefix(forms[form]):
            index[shingle].append(form)
    nearest: dict[int, Neighbour] = {}
    found: set[str] = set()
    for form, items in here.items():
        near = _near(form, forms, index)
        if near:
            best = max(near, key=near.__getitem__)
            nearest |= dict.fromkeys(items, Neighbour(there[best][0], near[best]))
            found |= near.keys()
    return Overlap(nearest, frozenset(item for form in found for item in there[form]))


def _near(form: str, forms: dict[str, Shingles], index: dict[int, list[str]]) -> dict[str, float]:
    """The similarity of all forms of the index that are near to one."""
    candidates = {other for shingle in _prefix(forms[form]) for other in index.get(shingle, ())}
    similar = {other: _similarity(forms[form], forms[other]) for other in candidates}
    return {other: value for other, value in similar.items() if value >= _LEAST_SIMILARITY}


def _similarity(one: Shingles, other: Shingles) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _prefix(shingles: Shingles) -> list[int]:
    """The rarest shingles, of which a set that is similar enough must have one, too."""
    count: int = len(shingles) - math.ceil(_LEAST_SIMILARITY * len(shingles)) + 1
    return list(shingles[:count].tolist())


def _group(texts: Sequence[str]) -> dict[str, list[int]]:
    """The texts of each normal form, in order."""
    groups: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        groups.setdefault(_normal_form(text), []).append(index)
    return groups


def _normal_form(text: str) -> str:
    """Letters, digits and marks only, in one case; a text without any (smileys) stands as it is."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    signs = "".join(sign for sign in folded if unicodedata.category(sign)[0] in "LNM")
    return signs[:_MOST_CHARACTERS] or " ".join(text.split())


def _shingles(forms: Iterable[str]) -> dict[str, Shingles]:
    """The shingles of each form, numbered by rarity among all forms."""
    hashed = {form: np.unique(_hashes(form)) for form in forms}
    _, places, counts = np.unique(np.concatenate([*hashed.values()]), return_inverse=True, return_counts=True)
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    ends = np.cumsum([len(values) for values in hashed.values()])
    pieces = np.split(ranks[places], ends[:-1])
    return {form: np.sort(piece) for form, piece in zip(hashed, pieces, strict=True)}


def _hashes(form: str) -> NDArray[np.uint64]:
    """A number for each shingle; of a form that is shorter than one, for all of it."""
    signs = np.frombuffer(form.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64) + np.uint64(1)
    signs = np.pad(signs, (0, max(0, _SHINGLE - len(signs))))
    numbers = np.zeros(len(signs) - _SHINGLE + 1, np.uint64)
    for start in range(_SHINGLE):
        numbers = (numbers + signs[start : start + len(numbers)]) * _FACTOR
    return numbers
