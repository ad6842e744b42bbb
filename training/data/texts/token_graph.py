"""What a tokenizer is made of: stock operators of ONNX Runtime from strings to ids, added node by node.

All ids are int64 [N, T]; 0 is padding, behind the tokens of each text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from zoo.card import TEXT_INPUT

PADDING_ID, UNKNOWN_ID, FIRST_ID = 0, 1, 2
"""Ids from 2 on are known tokens, or buckets of a hash."""
PADDING = "<pad>"
"""Behind the tokens of the shorter texts; never a token: "<" is one of its own."""
# Old enough for every runtime of the last years; raised to the network's own when the two are joined.
OPSETS = {"": 18, "ai.onnx.ml": 4, "com.microsoft": 1}
IR_VERSION = 10
# Hashes stay below a Mersenne prime, their products below 2**62, so int64 is wide enough.
_PRIME = 2**31 - 1
_FACTOR = 1_540_483_477


class TokenGraph:
    """A graph `text` string [N] -> .., in the making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def split(self, options: Mapping[str, Any]) -> str:
        """Tokens string [N, T] in lower case, by ONNX Runtime's Tokenizer; T may be 0."""
        # Without a locale the normalizer asks for en_US, which slim images do not have.
        lower = self._node("StringNormalizer", TEXT_INPUT, case_change_action="LOWER", locale="C.UTF-8")
        options = {"mark": 0, "pad_value": PADDING, "mincharnum": 1, **options}
        return self._node("Tokenizer", lower, domain="com.microsoft", **options)

    def look_up(self, tokens: str, ids: Mapping[str, int]) -> str:
        """The id of each token; UNKNOWN_ID where it has none."""
        return self._look_up(
            tokens, keys_strings=[PADDING, *ids], values_int64s=[PADDING_ID, *ids.values()], default_int64=UNKNOWN_ID
        )

    def look_up_codes(self, codes: str, ids: Mapping[int, int]) -> str:
        """The same of positive numbers in the place of tokens."""
        return self._look_up(
            codes, keys_int64s=[0, *ids], values_int64s=[PADDING_ID, *ids.values()], default_int64=UNKNOWN_ID
        )

    def hash(self, tokens: str, buckets: int | None = None) -> str:
        """The bucket of each token, from FIRST_ID on, by MurmurHash3 (32 bits, seed 0) of its UTF-8.

        Args:
            tokens: string [N, T].
            buckets: number of them; default: a number to make n-grams of.
        """
        hashed = self._node("MurmurHash3", tokens, domain="com.microsoft", positive=1, seed=0)
        wide = self._node("Cast", hashed, to=TensorProto.INT64)
        place = self._node("Mod", wide, self._number(buckets or _PRIME - FIRST_ID))
        is_token = self._look_up(tokens, keys_strings=[PADDING], values_int64s=[0], default_int64=1)
        return self._node("Mul", self._node("Add", place, self._number(FIRST_ID)), is_token)

    def cut(self, ids: str, max_tokens: int) -> str:
        """At most `max_tokens` of each text, and at least one column, so that no axis is ever empty."""
        steps = self._node("Max", self._node("Shape", ids, start=1, end=2), self._number([1]))
        end = self._node("Min", steps, self._number([max_tokens]))
        padded = self._node("Pad", ids, self._number([0, 0, 0, 1]), self._number(PADDING_ID))
        return self._node("Slice", padded, self._number([0]), end, self._number([1]))

    def ngram_codes(self, ids: str, length: int, base: int) -> str:
        """A number for the n-gram that ends at each id, its digits the ids in this base; the first ones of a text are
        shorter."""
        codes, earlier, weight = ids, ids, 1
        for _ in range(length - 1):
            earlier, weight = self._shift(earlier), weight * base
            codes = self._node("Add", codes, self._node("Mul", earlier, self._number(weight)))
        return self._only_at(ids, codes)

    def hash_ngrams(self, hashes: str, length: int, buckets: int) -> str:
        """The bucket, from FIRST_ID on, of the n-gram that ends at each of these hashes."""
        codes = earlier = hashes
        for _ in range(length - 1):
            earlier = self._shift(earlier)
            codes = self._node("Add", self._node("Mul", codes, self._number(_FACTOR)), earlier)
            codes = self._node("Mod", codes, self._number(_PRIME))
        places = self._node("Mod", codes, self._number(buckets))
        return self._only_at(hashes, self._node("Add", places, self._number(FIRST_ID)))

    def model(
        self, output: str, name: str, *, opset: int = OPSETS[""], ir_version: int = IR_VERSION
    ) -> onnx.ModelProto:
        """The whole graph; its `output` is called `name`."""
        (last,) = [node for node in self._nodes if output in node.output]
        last.output[0] = name
        kind = TensorProto.STRING if last.op_type == "Tokenizer" else TensorProto.INT64
        graph = helper.make_graph(
            self._nodes,
            "tokenizer",
            [helper.make_tensor_value_info(TEXT_INPUT, TensorProto.STRING, ["batch"])],
            [helper.make_tensor_value_info(name, kind, ["batch", "time"])],
            self._constants,
        )
        imports = [helper.make_opsetid(domain, version) for domain, version in (OPSETS | {"": opset}).items()]
        return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)

    def _shift(self, ids: str) -> str:
        """The id before each; before the first one padding."""
        kept = self._node("Slice", ids, self._number([0]), self._number([-1]), self._number([1]))
        return self._node("Pad", kept, self._number([0, 1, 0, 0]), self._number(PADDING_ID))

    def _only_at(self, ids: str, values: str) -> str:
        """The values, but PADDING_ID where `ids` are padding."""
        return self._node("Mul", values, self._node("Min", ids, self._number(1)))

    def _look_up(self, keys: str, **table: Any) -> str:
        return self._node("LabelEncoder", keys, domain="ai.onnx.ml", **table)

    def _node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"tokenizer_{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def _number(self, value: int | list[int]) -> str:
        name = f"tokenizer_constant_{len(self._constants)}"
        self._constants.append(onnx.numpy_helper.from_array(np.array(value, np.int64), name))
        return name
