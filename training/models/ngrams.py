"""Hashed n-grams of token ids, in arithmetic that torch and ONNX share."""

from __future__ import annotations

from torch import Tensor, nn

PADDING_ID, UNKNOWN_ID = 0, 1
"""As in training.data.texts.token_graph; a text's first n-grams begin with padding."""
# A rolling hash modulo a Mersenne prime: products stay below 2**62, so int64 is wide enough.
_PRIME = 2**31 - 1
_FACTOR = 1_540_483_477


def ngram_buckets(ids_NT: Tensor, ngrams: int, buckets: int) -> list[Tensor]:
    """For n = 1 .. ngrams, the bucket int64 [N, T] of the n-gram that ends at each token."""
    found = []
    hashes_NT = earlier_NT = ids_NT
    for _ in range(ngrams):
        found.append(hashes_NT % buckets)
        earlier_NT = nn.functional.pad(earlier_NT[:, :-1], (1, 0), value=PADDING_ID)
        hashes_NT = (hashes_NT * _FACTOR + earlier_NT + 1) % _PRIME
    return found
