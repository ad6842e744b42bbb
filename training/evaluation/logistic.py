"""Logistic regression, the classifier that a network has to beat: on features of images, or on n-grams of texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from training.data.texts.parts import TextPart, TextParts
from training.data.texts.tokens import TokenKind, split_texts
from training.evaluation.naive_bayes import NGRAM_ORDERS

_INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""The validation part chooses."""
_ITERATIONS = 300
_MOST_ITEMS, _MOST_GRAMS = 20_000, 300_000
"""Of dense features, evenly chosen; and the most frequent n-grams. They keep the fit at seconds."""
_MANY_TEXTS = 1000  # of which an n-gram that occurs once says nothing


class Labelled(NamedTuple):
    """Features and classes of a part."""

    features: Any
    """[N, D], an array or a sparse matrix."""
    classes: Sequence[int]


def logistic_accuracy(train: Labelled, validation: Labelled, test: Labelled) -> float:
    """Test accuracy of logistic regression; the validation part chooses the penalty of squared weights."""
    models = [_fit(train, penalty) for penalty in _INVERSE_PENALTIES]
    best = min(models, key=lambda model: _log_loss(model, validation))
    return float(best.score(test.features, test.classes))


def logistic_accuracy_on_features(train: Labelled, validation: Labelled, test: Labelled) -> float:
    """The same on dense features, each scaled to mean 0 and deviation 1."""
    rows = np.linspace(0, len(train.classes) - 1, min(len(train.classes), _MOST_ITEMS)).astype(int)
    train = Labelled(train.features[rows], np.asarray(train.classes)[rows].tolist())
    scaler = StandardScaler().fit(train.features)
    return logistic_accuracy(
        *(Labelled(scaler.transform(part.features), part.classes) for part in (train, validation, test))
    )


def logistic_accuracy_on_texts(kind: TokenKind, parts: TextParts) -> float:
    """The same on the n-grams that a text contains, those that few texts have counting more (tf-idf)."""
    grams = TfidfVectorizer(
        analyzer=lambda tokens: [
            " ".join(gram)
            for order in NGRAM_ORDERS[kind]
            for gram in zip(*(tokens[start:] for start in range(order)), strict=False)
        ],
        binary=True,
        min_df=2 if len(parts.train.texts) > _MANY_TEXTS else 1,
        max_features=_MOST_GRAMS,
    )
    train = Labelled(grams.fit_transform(split_texts(parts.train.texts, kind)), parts.train.classes)

    def part(texts: TextPart) -> Labelled:
        return Labelled(grams.transform(split_texts(texts.texts, kind)), texts.classes)

    return logistic_accuracy(train, part(parts.validation), part(parts.test))


def _fit(train: Labelled, inverse_penalty: float) -> LogisticRegression:
    model = LogisticRegression(C=inverse_penalty, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for a comparison
        return model.fit(train.features, train.classes)


def _log_loss(model: LogisticRegression, part: Labelled) -> float:
    probabilities = model.predict_proba(part.features)
    columns = np.searchsorted(model.classes_, part.classes)
    return float(-np.log(np.maximum(probabilities[np.arange(len(columns)), columns], 1e-12)).mean())
