"""What Hangul syllables are made of, as features of characters.

A syllable of Unicode is an initial consonant, a vowel and perhaps a final consonant. A verb changes its last one with
tense and politeness, so that a network that knows only whole syllables has to learn each form on its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.models.ngrams import PADDING_ID, ngram_buckets

_FIRST, _INITIALS, _VOWELS, _FINALS = 0xAC00, 19, 21, 28
"""Of Unicode: the standard, section 3.12. One of the finals is that there is none."""
_RESERVED = 2  # ids before the vocabulary: padding and unknown
_BEGIN, _END = 1, 2  # marks among letters
_CHARACTERS = _END + _INITIALS + _VOWELS + _FINALS + 1  # what is no syllable, behind all letters
_STD, _NGRAM_STD = 0.3, 0.1  # refinements of the characters' own vectors, which start with 1


class HangulVectors(nn.Module):
    """Character ids int64 [N, T] -> vectors [N, T, embedding_size]; of what is no syllable, one that they all share.

    The sum of the vectors of the initial, the vowel, the final and the syllable without its final, and of those of the
    2-, .. n-grams of syllables without finals that end there.

    Args:
        vocabulary: the characters, of ids from 2 on.
        embedding_size: width of a vector.
        ngrams: length of the longest n-gram.
        buckets: rows of the table of each n > 1; n-grams are hashed into them.
    """

    def __init__(self, vocabulary: Sequence[str], embedding_size: int, *, ngrams: int, buckets: int) -> None:
        super().__init__()
        rows = [(0, 0, 0)] * _RESERVED + [_letters(character) for character in vocabulary]
        initial_V, vowel_V, final_V = torch.tensor(rows).T
        without_final_V = initial_V * (_VOWELS + 1) + vowel_V
        # A syllable without final counts as one; other characters stay what they are.
        open_V = torch.where(initial_V > 0, len(rows) + without_final_V, torch.arange(len(rows)))
        parts_4V = torch.stack([initial_V, vowel_V, final_V, without_final_V])
        self.register_buffer("parts_4V", parts_4V, persistent=False)
        self.register_buffer("open_V", open_V, persistent=False)
        self.parts_4V: Tensor
        self.open_V: Tensor
        sizes = (_INITIALS + 1, _VOWELS + 1, _FINALS + 1, (_INITIALS + 1) * (_VOWELS + 1))
        self.parts = nn.ModuleList(_table(size, embedding_size, _STD) for size in sizes)
        self.ngrams = nn.ModuleList(_table(buckets, embedding_size, _NGRAM_STD) for _ in range(ngrams - 1))
        self.buckets = buckets

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Sum the vectors."""
        # Of the whole vocabulary: less work than of every character, and one table in an exported file.
        table_VE = torch.stack([part(rows_V) for part, rows_V in zip(self.parts, self.parts_4V, strict=True)]).sum(0)
        vectors_NTE = nn.functional.embedding(ids_NT, table_VE)
        if self.ngrams:
            grams = ngram_buckets(self.open_V[ids_NT], len(self.ngrams) + 1, self.buckets)
            for table, rows_NT in zip(self.ngrams, grams[1:], strict=True):
                vectors_NTE = vectors_NTE + table(rows_NT)
        return vectors_NTE


class HangulLetters(nn.Module):
    """Character ids int64 [N, T] -> ids of letters int64 [N, 3 * T + 2]: those of syllables, other characters whole.

    As in Unicode's normal form D, an initial consonant and the same consonant as a final are two letters. They follow
    each other without gaps, a mark stands before the first and one behind the last, then comes padding (0).

    Args:
        vocabulary: the characters, of ids from 2 on.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        super().__init__()
        characters = [(0, 0, 0), (_CHARACTERS + 1, 0, 0)]  # padding and unknown
        characters += [_spell(character, _CHARACTERS + place) for place, character in enumerate(vocabulary, _RESERVED)]
        self.register_buffer("letters_V3", torch.tensor(characters), persistent=False)
        self.letters_V3: Tensor

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Spell."""
        slots_NS = nn.functional.pad(self.letters_V3[ids_NT].flatten(1), (1, 0), value=_BEGIN)
        filled_NS = slots_NS != PADDING_ID
        # A letter goes to the place that the letters before it leave; empty slots go where the mark of the end is then.
        count_N1 = filled_NS.sum(1, keepdim=True)
        places_NS = torch.where(filled_NS, filled_NS.long().cumsum(1) - 1, count_N1)
        spelt_NS = torch.zeros_like(nn.functional.pad(slots_NS, (0, 1))).scatter(1, places_NS, slots_NS)
        return spelt_NS.scatter(1, count_N1, _END)


def _table(rows: int, embedding_size: int, std: float) -> nn.Embedding:
    table = nn.Embedding(rows, embedding_size)
    nn.init.normal_(table.weight, std=std)
    return table


def _spell(character: str, otherwise: int) -> tuple[int, int, int]:
    """Ids of the letters of a syllable; of another character, the one that it is given."""
    initial, vowel, final = _letters(character)
    if not initial:
        return otherwise, 0, 0
    before_finals = _END + _INITIALS + _VOWELS
    return _END + initial, _END + _INITIALS + vowel, before_finals + final if final > 1 else 0


def _letters(character: str) -> tuple[int, int, int]:
    """Numbers of initial, vowel and final, each from 1; 0 where it is no syllable. A final of 1 is none."""
    place = ord(character) - _FIRST if len(character) == 1 else -1
    if not 0 <= place < _INITIALS * _VOWELS * _FINALS:
        return 0, 0, 0
    return place // (_VOWELS * _FINALS) + 1, place // _FINALS % _VOWELS + 1, place % _FINALS + 1
