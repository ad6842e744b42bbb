"""The simple answers that a trained model has to beat; they stand in the same table as its result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.texts.parts import TextPart
from training.data.texts.tokens import TokenKind, split_texts

NGRAM_ORDERS: dict[TokenKind, tuple[int, ...]] = {"words": (1, 2), "characters": (2, 3), "character_ngrams": (1,)}
"""The n-grams that usually suit naive Bayes best."""
LETTER_ORDERS = (3, 4, 5, 6, 7, 8)
"""The same of the letters of Korean syllables, two or three of which make one."""


def naive_bayes_accuracy(kind: TokenKind, train: TextPart, test: TextPart, classes: int) -> float:
    """Test accuracy of naive Bayes over words and their pairs, or over pairs and triples of characters."""
    model = NaiveBayes(NGRAM_ORDERS[kind], classes)
    model.fit(split_texts(train.texts, kind), train.classes)
    return float(np.mean(model.predict(split_texts(test.texts, kind)) == np.array(test.classes)))


class NaiveBayes:
    """Multinomial naive Bayes over the n-grams that a text contains, each counted once, with add-one smoothing.

    The binarised form of S. Wang and C. Manning, "Baselines and Bigrams" (ACL 2012), which suits short texts.

    Args:
        orders: lengths n of the n-grams, e.g. (1, 2).
        classes: number of classes.
    """

    def __init__(self, orders: Sequence[int], classes: int) -> None:
        self.orders = orders
        self.classes = classes
        self._index: dict[tuple[str, ...], int] = {}
        self._log_likelihood: NDArray[np.float64] = np.zeros((0, classes))
        self._log_prior: NDArray[np.float64] = np.zeros(classes)

    def fit(self, texts: Iterable[Sequence[str]], labels: Sequence[int]) -> None:
        """Count the n-grams of tokenised texts."""
        rows: list[int] = []
        columns: list[int] = []
        for tokens, label in zip(texts, labels, strict=True):
            found = [self._index.setdefault(gram, len(self._index)) for gram in self._grams(tokens)]
            rows += found
            columns += [label] * len(found)
        counts = np.ones((len(self._index), self.classes))
        np.add.at(counts, (rows, columns), 1)
        self._log_likelihood = np.log(counts / counts.sum(0))
        self._log_prior = np.log(np.bincount(labels, minlength=self.classes) / len(labels))

    def predict(self, texts: Iterable[Sequence[str]]) -> NDArray[np.int64]:
        """Class of each tokenised text, int64 [N]; n-grams never seen are left out."""
        return np.array([int(np.argmax(self._score(tokens))) for tokens in texts], np.int64)

    def _score(self, tokens: Sequence[str]) -> NDArray[np.float64]:
        known = [self._index[gram] for gram in self._grams(tokens) if gram in self._index]
        return np.asarray(self._log_prior + self._log_likelihood[known].sum(0))

    def _grams(self, tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
        for order in self.orders:
            yield from dict.fromkeys(zip(*(tokens[start:] for start in range(order)), strict=False))
