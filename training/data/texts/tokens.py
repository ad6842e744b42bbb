"""Texts to token ids, by an ONNX graph: the one that training runs here is later the front of the published file.

    text string [N] -> lower case -> tokens -> ids (vocabulary or hash) -> at most max_tokens -> ids int64 [N, T]

Stock operators of ONNX Runtime, no extension. The two sides of the service can therefore not tokenise differently.
Texts must be in Unicode normal form C before, see `zoo.text.prepare_text`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from training.data.texts.token_graph import FIRST_ID, IR_VERSION, OPSETS, PADDING, PADDING_ID, TokenGraph
from training.errors import DataError
from zoo.card import TEXT_INPUT
from zoo.golden import Run
from zoo.runtime import make_run, open_session

TokenKind = Literal["words", "characters", "character_ngrams"]

IDS = "ids"

_CHARACTERS = {"separators": [""]}
# RE2: \w would be ASCII. A word carries its marks (Indic vowels) and inner apostrophes; other signs stand alone.
_SPLITTING: dict[TokenKind, dict[str, Any]] = {
    "words": {"tokenexp": r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*(?:['’][\p{L}\p{M}\p{N}]+)*|[^\s\p{L}\p{N}]"},
    "characters": _CHARACTERS,
    "character_ngrams": _CHARACTERS,
}
_CHUNK = 512  # texts per call; a batch is padded to its longest text


@dataclass(frozen=True)
class Tokenizer:
    """Splits texts and gives each token an id.

    Args:
        kind: words (and single punctuation signs), characters (white space included), or the n-grams of characters that
            end at each of them; the first ones of a text are shorter.
        vocabulary: the known tokens; the first has id 2, after padding and unknown.
        max_tokens: what is beyond is cut off.
        length: characters of an n-gram.
        buckets: instead of a vocabulary, the hash of a token gives its id, 2 to `buckets` + 1.
        seen: the ids among these that are known; empty: all of them.
    """

    kind: TokenKind
    vocabulary: tuple[str, ...]
    max_tokens: int
    length: int = 1
    buckets: int = 0
    seen: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of ids, padding and unknown included."""
        return (self.buckets or len(self.vocabulary)) + FIRST_ID

    def graph(self, *, opset: int = OPSETS[""], ir_version: int = IR_VERSION) -> onnx.ModelProto:
        """The graph `text` string [N] -> `ids` int64 [N, T], 1 <= T <= max_tokens, padded with PADDING_ID.

        A text without any token becomes one padding id, so that no axis is ever empty.
        """
        graph = TokenGraph()
        tokens = graph.split(_SPLITTING[self.kind])
        if self.kind == "character_ngrams":
            ids = self._ngrams(graph, tokens)
        elif self.buckets:
            ids = graph.cut(graph.hash(tokens, self.buckets), self.max_tokens)
        else:
            ids = graph.cut(graph.look_up(tokens, _numbered(self.vocabulary)), self.max_tokens)
        if self.seen:
            ids = graph.look_up_codes(ids, {place: place for place in self.seen})
        return graph.model(ids, IDS, opset=opset, ir_version=ir_version)

    def _ngrams(self, graph: TokenGraph, characters: str) -> str:
        """ONNX has no overlapping tokens, and joins strings only lately: n-grams are made of numbers of characters."""
        if self.buckets:
            return graph.hash_ngrams(graph.cut(graph.hash(characters), self.max_tokens), self.length, self.buckets)
        alphabet = _numbered(sorted(set("".join(self.vocabulary))))
        base = len(alphabet) + FIRST_ID
        ids = graph.cut(graph.look_up(characters, alphabet), self.max_tokens)
        codes = {_code(token, alphabet, base): index for token, index in _numbered(self.vocabulary).items()}
        return graph.look_up_codes(graph.ngram_codes(ids, self.length, base), codes)

    @cached_property
    def _run(self) -> Run:
        return make_run(open_session(self.graph().SerializeToString(), threads=1))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The ids of each text, 1 to max_tokens of them, without padding behind."""
        return [
            row[: max(1, np.count_nonzero(row))]
            for chunk in _chunks(texts)
            for row in self._run({TEXT_INPUT: chunk})[IDS]
        ]


def learn_tokenizer(
    texts: Sequence[str], kind: TokenKind, *, max_tokens: int, max_vocabulary: int, min_count: int, length: int = 1
) -> Tokenizer:
    """A tokenizer that knows the most frequent tokens of `texts`.

    Args:
        texts: the training part, NFC.
        kind: words, characters or n-grams of these.
        max_tokens: see Tokenizer.
        max_vocabulary: at most this many tokens, the most frequent ones.
        min_count: at least this often in `texts`.
        length: characters of an n-gram.

    Raises:
        DataError: no token is frequent enough, or there are too many characters to number their n-grams.
    """
    counts = Counter(token for tokens in split_texts(texts, kind, length) for token in tokens)
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:max_vocabulary]
    vocabulary = tuple(token for token, count in by_frequency if count >= min_count)
    if not vocabulary:
        raise DataError(f"no token of the training part occurs {min_count} times; lower min_count")
    characters = len(set("".join(vocabulary)))
    if kind == "character_ngrams" and (characters + FIRST_ID) ** length >= 2**63:
        raise DataError(
            f"{characters} different characters have too many n-grams of {length} to be numbered; take shorter ones, "
            "or fewer by max_vocabulary or min_count"
        )
    return Tokenizer(kind, vocabulary, max_tokens, length)


def learn_hashing(
    texts: Sequence[str], kind: TokenKind, *, max_tokens: int, buckets: int, length: int = 1
) -> Tokenizer:
    """A tokenizer that hashes, and knows the buckets that tokens of `texts` fall into.

    A token in any other bucket was surely not there; of new tokens as many are found out as buckets are empty.

    Args:
        texts: the training part, NFC.
        kind, max_tokens, buckets, length: see Tokenizer.
    """
    hashing = Tokenizer(kind, (), max_tokens, length, buckets)
    found = np.unique(np.concatenate(hashing.encode(texts)))
    return replace(hashing, seen=tuple(found[found != PADDING_ID].tolist()))


def split_texts(texts: Sequence[str], kind: TokenKind, length: int = 1) -> Iterator[list[str]]:
    """The tokens of each text, in lower case, as the graph sees them."""
    graph = TokenGraph()
    model = graph.model(graph.split(_SPLITTING[kind]), "tokens")
    run = make_run(open_session(model.SerializeToString(), threads=1))
    for chunk in _chunks(texts):
        for row in run({TEXT_INPUT: chunk})["tokens"]:
            tokens = [token for token in row if token != PADDING]
            yield _ngrams(tokens, length) if kind == "character_ngrams" else tokens


def collision_rate(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[float, int]:
    """The share of the distinct tokens of `texts` that share their id with another one, and the number of these tokens.

    Args:
        tokenizer: with buckets.
        texts: of which it reads `max_tokens` each.
    """
    places: dict[str, int] = {}
    rows = zip(split_texts(texts, tokenizer.kind, tokenizer.length), tokenizer.encode(texts), strict=True)
    for tokens, ids in rows:
        places.update(zip(tokens, ids.tolist(), strict=False))
    taken = Counter(places.values())
    shared = sum(taken[place] > 1 for place in places.values())
    return shared / max(1, len(places)), len(places)


def _ngrams(characters: Sequence[str], length: int) -> list[str]:
    """The n-gram that ends at each character."""
    return ["".join(characters[max(0, end - length) : end]) for end in range(1, len(characters) + 1)]


def _code(token: str, alphabet: dict[str, int], base: int) -> int:
    """As `TokenGraph.ngram_codes` numbers it."""
    return sum(alphabet[character] * base**place for place, character in enumerate(reversed(token)))


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens, FIRST_ID)}


def _chunks(texts: Sequence[str]) -> Iterator[NDArray[np.object_]]:
    for start in range(0, len(texts), _CHUNK):
        yield np.array(texts[start : start + _CHUNK], dtype=object)
