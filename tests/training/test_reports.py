"""Reports: what they say about a training, and that one file is enough to read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.cards import image_card
from training.evaluation.calibration import calibration_error, reliability
from training.evaluation.classification import ClassificationReport, classification_report
from training.evaluation.verdict import learning_verdict
from training.fit import FitResult
from training.reports.classifier import classifier_page, worst_mistakes
from training.reports.page import Page
from zoo.card import LOGITS, ImageTask


def history(train: Sequence[float], validation: Sequence[float]) -> list[dict[str, float]]:
    return [
        {"epoch": float(epoch), "train_loss": one, "validation_loss": other, "score": 1 - other}
        for epoch, (one, other) in enumerate(zip(train, validation, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("train", "validation", "verdict"),
    [
        ([1.0, 0.5, 0.1], [0.9, 0.6, 0.9], "Overfitting: since epoch 2 the validation loss has risen by 50%"),
        ([1.0, 0.8, 0.6], [1.0, 0.8, 0.6], "still falling at the end"),
        ([1.0, 0.5, 0.5], [0.9, 0.5, 0.5], "No sign of overfitting"),
        ([1.0], [0.9], "No sign of overfitting"),
    ],
)
def test_the_verdict_on_learning_curves(train: Sequence[float], validation: Sequence[float], verdict: str) -> None:
    assert verdict in learning_verdict(history(train, validation))


def test_reliability_compares_confidence_with_accuracy() -> None:
    probabilities = np.array([[0.95, 0.05]] * 10 + [[0.35, 0.65]] * 4, np.float32)
    correct = np.array([True] * 9 + [False] + [True, True, False, False])
    low, high = reliability(probabilities, correct)
    assert (low.accuracy, low.items, round(low.confidence, 3)) == (0.5, 4, 0.65)
    assert (high.accuracy, high.items, round(high.confidence, 3)) == (0.9, 10, 0.95)
    assert calibration_error([low, high]) == pytest.approx((0.15 * 4 + 0.05 * 10) / 14)
    assert reliability(np.ones((2, 1), np.float32), np.array([True, True]))[0].confidence == 1.0


def report_of(classes: int) -> ClassificationReport:
    logits = np.eye(classes, dtype=np.float32)[[0, 1, 1, 0]] * np.array([[4], [3], [2], [1]], np.float32)
    return classification_report(lambda _: {LOGITS: logits}, [({}, [0, 1, 0, 1])])


def test_the_worst_mistakes_come_first() -> None:
    test = report_of(2)
    assert test.correct.tolist() == [True, True, False, False]
    assert worst_mistakes(test) == [2, 3]
    assert worst_mistakes(test, count=1) == [2]


def test_a_report_is_one_file_and_its_text_is_escaped(tmp_path: Path) -> None:
    card = image_card()
    assert isinstance(card.task, ImageTask)
    card = card.model_copy(update={"name": "<b>bold</b>"})
    fit = FitResult(1, 0.9, 2, False, 1.0, tuple(history([1.0, 0.9], [1.0, 0.9])))
    page = classifier_page(card, fit, report_of(len(card.task.labels)), {"naive_bayes": 0.25})
    page.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;bold" in text
    assert '<td>naive bayes</td><td class="number">0.2500</td><td>0.046 to 0.699</td>' in text
    assert "<b>" not in text
    assert text.count('src="data:image/png;base64,') == 3
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


def test_numbers_and_words_of_a_table(tmp_path: Path) -> None:
    page = Page("x")
    page.table([("a & b", 0.12345, 7)], ("name", "share", "count"))
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert '<td>a &amp; b</td><td class="number">0.1235</td><td class="number">7</td>' in text
