"""Texts to token ids, by an ONNX graph: the one that training runs here is later the front of the published file.

    text string [N] -> lower case -> tokens -> ids (vocabulary) -> at most max_tokens -> ids int64 [N, T]

Stock operators of ONNX Runtime, no extension. The two sides of the service can therefore not tokenise differently.
Texts must be in Unicode normal form C before, see `zoo.text.prepare_text`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from zoo.card import TEXT_INPUT
from zoo.golden import Run
from zoo.runtime import make_run, open_session

TokenKind = Literal["words", "characters"]

PADDING_ID, UNKNOWN_ID = 0, 1
_FIRST_ID = 2
_PADDING = "<pad>"  # never a token: "<" is one of its own
IDS = "ids"

# RE2: \w would be ASCII. A word carries its marks (Indic vowels) and inner apostrophes; other signs stand alone.
_SPLITTING: dict[TokenKind, dict[str, Any]] = {
    "words": {"tokenexp": r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*(?:['’][\p{L}\p{M}\p{N}]+)*|[^\s\p{L}\p{N}]"},
    "characters": {"separators": [""]},
}
_CHUNK = 512  # texts per call; a batch is padded to its longest text
# Old enough for every runtime of the last years; raised to the network's own when the two are joined.
OPSETS = {"": 18, "ai.onnx.ml": 4, "com.microsoft": 1}
IR_VERSION = 10


@dataclass(frozen=True)
class Tokenizer:
    """Splits texts and looks the tokens up.

    Args:
        kind: words (and single punctuation signs) or characters (white space included).
        vocabulary: the known tokens; the first has id 2, after padding and unknown.
        max_tokens: what is beyond is cut off.
    """

    kind: TokenKind
    vocabulary: tuple[str, ...]
    max_tokens: int

    @property
    def size(self) -> int:
        """Number of ids, padding and unknown included."""
        return len(self.vocabulary) + _FIRST_ID

    def graph(self, *, opset: int = OPSETS[""], ir_version: int = IR_VERSION) -> onnx.ModelProto:
        """The graph `text` string [N] -> `ids` int64 [N, T], 1 <= T <= max_tokens, padded with PADDING_ID.

        A text without any token becomes one padding id, so that no axis is ever empty.
        """
        lookup = [
            helper.make_node(
                "LabelEncoder",
                ["tokens"],
                ["known_ids"],
                domain="ai.onnx.ml",
                keys_strings=[_PADDING, *self.vocabulary],
                values_int64s=[PADDING_ID, *range(_FIRST_ID, self.size)],
                default_int64=UNKNOWN_ID,
            ),
            helper.make_node("Pad", ["known_ids", "tokenizer_pads", "tokenizer_padding"], ["padded_ids"]),
            helper.make_node("Min", ["tokenizer_steps", "tokenizer_limit"], ["tokenizer_end"]),
            helper.make_node("Slice", ["padded_ids", "tokenizer_start", "tokenizer_end", "tokenizer_axis"], [IDS]),
        ]
        steps = [
            helper.make_node("Shape", ["known_ids"], ["known_steps"], start=1, end=2),
            helper.make_node("Max", ["known_steps", "tokenizer_one"], ["tokenizer_steps"]),
        ]
        constants = {
            "tokenizer_pads": np.array([0, 0, 0, 1]),
            "tokenizer_padding": np.array(PADDING_ID),
            "tokenizer_one": np.array([1]),
            "tokenizer_limit": np.array([self.max_tokens]),
            "tokenizer_start": np.array([0]),
            "tokenizer_axis": np.array([1]),
        }
        nodes = [*_split_nodes(self.kind), lookup[0], *steps, *lookup[1:]]
        ids = helper.make_tensor_value_info(IDS, TensorProto.INT64, ["batch", "time"])
        return _model(nodes, ids, constants, opset=opset, ir_version=ir_version)

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
    texts: Sequence[str], kind: TokenKind, *, max_tokens: int, max_vocabulary: int, min_count: int
) -> Tokenizer:
    """A tokenizer that knows the most frequent tokens of `texts`.

    Args:
        texts: the training part, NFC.
        kind: words or characters.
        max_tokens: see Tokenizer.
        max_vocabulary: at most this many tokens, the most frequent ones.
        min_count: at least this often in `texts`.
    """
    counts = Counter(token for tokens in split_texts(texts, kind) for token in tokens)
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:max_vocabulary]
    return Tokenizer(kind, tuple(token for token, count in by_frequency if count >= min_count), max_tokens)


def split_texts(texts: Sequence[str], kind: TokenKind) -> Iterator[list[str]]:
    """The tokens of each text, in lower case, as the graph sees them."""
    tokens = helper.make_tensor_value_info("tokens", TensorProto.STRING, ["batch", "time"])
    model = _model(_split_nodes(kind), tokens, {}, opset=OPSETS[""], ir_version=IR_VERSION)
    run = make_run(open_session(model.SerializeToString(), threads=1))
    for chunk in _chunks(texts):
        for row in run({TEXT_INPUT: chunk})["tokens"]:
            yield [token for token in row if token != _PADDING]


def _chunks(texts: Sequence[str]) -> Iterator[NDArray[np.object_]]:
    for start in range(0, len(texts), _CHUNK):
        yield np.array(texts[start : start + _CHUNK], dtype=object)


def _split_nodes(kind: TokenKind) -> list[onnx.NodeProto]:
    # Without a locale the normalizer asks for en_US, which slim images do not have.
    lower = helper.make_node(
        "StringNormalizer", [TEXT_INPUT], ["lower_text"], case_change_action="LOWER", locale="C.UTF-8"
    )
    options = {"mark": 0, "pad_value": _PADDING, "mincharnum": 1, **_SPLITTING[kind]}
    return [lower, helper.make_node("Tokenizer", ["lower_text"], ["tokens"], domain="com.microsoft", **options)]


def _model(
    nodes: list[onnx.NodeProto],
    output: onnx.ValueInfoProto,
    constants: dict[str, NDArray[np.int64]],
    *,
    opset: int,
    ir_version: int,
) -> onnx.ModelProto:
    text = helper.make_tensor_value_info(TEXT_INPUT, TensorProto.STRING, ["batch"])
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tokenizer", [text], [output], initializers)
    imports = [helper.make_opsetid(domain, version) for domain, version in (OPSETS | {"": opset}).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
