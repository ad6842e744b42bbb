"""The report of a classifier, `report.html` in its run folder."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from training.evaluation.calibration import calibration_error, reliability, without_temperature
from training.evaluation.classification import ClassificationReport
from training.evaluation.verdict import learning_verdict
from training.fit import FitResult
from training.pipelines.image import ImageOutcome
from training.pipelines.text import TextOutcome
from training.reports.duplicates import add_duplicates
from training.reports.figures import confusion_matrix, learning_curves, reliability_diagram
from training.reports.making import write_report
from training.reports.page import Page
from training.reports.summary import accuracy_rows
from zoo.card import Card, ImageTask, TextTask

_MISTAKES = 12
_NAMED_CLASSES = 40
"""Of a confusion matrix; of more classes it is drawn."""
_THUMBNAIL_PX = 160


def write_image_report(outcome: ImageOutcome) -> Path:
    """Write the report of an image classifier, its worst mistakes included."""
    page = classifier_page(outcome.card, outcome.fit, outcome.test, outcome.baselines)
    add_duplicates(page, outcome.duplicates, outcome.test)
    for pair in outcome.twins:
        for item in pair:
            page.picture(_thumbnail(item.decode()), item.name)
    worst = worst_mistakes(outcome.test)
    labels = outcome.card.class_shares.keys()
    page.section("Worst mistakes", "Test images with the least probability for their class." if worst else "None.")
    for row in worst:
        page.picture(_thumbnail(outcome.test_items[row].decode()), _caption(outcome, row, list(labels)))
    return write_report(page, outcome.card, outcome.run_folder)


def write_text_report(outcome: TextOutcome) -> Path:
    """Write the report of a text classifier."""
    page = classifier_page(outcome.card, outcome.fit, outcome.test, outcome.baselines)
    add_duplicates(page, outcome.duplicates, outcome.test)
    return write_report(page, outcome.card, outcome.run_folder)


def classifier_page(
    card: Card, fit: FitResult, test: ClassificationReport, baselines: Mapping[str, float] | None = None
) -> Page:
    """What all classifiers have in common: numbers beside the baselines, curves, confusion and calibration."""
    assert isinstance(card.task, ImageTask | TextTask), "forecasters have other metrics"
    labels = card.task.labels
    page = Page(card.name, card.description)
    page.section("Test part", card.provenance.split)
    page.table(accuracy_rows(test, baselines or {}), ("", "accuracy", "95 % interval"))
    shown = {"accuracy", *(f"{name}_accuracy" for name in baselines or {})}
    page.table([(name.replace("_", " "), value) for name, value in card.test_metrics.items() if name not in shown])
    page.section("Classes")
    page.table(_class_rows(test, labels), ("class", "items", "precision", "recall", "F1"))
    if len(labels) <= _NAMED_CLASSES:
        page.shares(test.confusion, labels, "true \\ predicted")
    else:
        page.figure(confusion_matrix(test.confusion))
    page.section("Learning curves", learning_verdict(fit.history))
    page.figure(learning_curves(fit.history, fit.best_epoch))
    _add_calibration(page, card, test)
    return page


def worst_mistakes(test: ClassificationReport, count: int = _MISTAKES) -> list[int]:
    """Rows of wrong answers, the least probability for the true class first."""
    truth = test.probabilities[np.arange(len(test.targets)), test.targets]
    return [int(row) for row in np.argsort(truth, kind="stable") if not test.correct[row]][:count]


def _add_calibration(page: Page, card: Card, test: ClassificationReport) -> None:
    curves = {"published": reliability(test.probabilities, test.correct)}
    note = f"Expected calibration error {calibration_error(curves['published']):.4f} on the test part."
    if card.calibration:
        temperature = card.calibration.temperature
        note += (
            f" The logits are divided by the temperature {temperature:.3f}, found on the validation part; without it "
            f"the error is {card.calibration.error_before:.4f}."
        )
        before = without_temperature(test.probabilities, temperature)
        curves = {"without temperature": reliability(before, test.correct)} | curves
    page.section("Calibration", note)
    page.figure(reliability_diagram(curves))


def _class_rows(test: ClassificationReport, labels: Sequence[str]) -> list[tuple[str, int, float, float, float]]:
    hits, items, answers = test.confusion.diagonal(), test.confusion.sum(1), test.confusion.sum(0)
    precision, recall = hits / np.maximum(answers, 1), hits / np.maximum(items, 1)
    f1 = 2 * hits / np.maximum(items + answers, 1)
    return [
        (label, int(items[row]), float(precision[row]), float(recall[row]), float(f1[row]))
        for row, label in enumerate(labels)
    ]


def _caption(outcome: ImageOutcome, row: int, labels: Sequence[str]) -> str:
    test = outcome.test
    answer, truth = int(test.probabilities[row].argmax()), int(test.targets[row])
    return (
        f"{outcome.test_items[row].name}: {labels[answer]} {test.probabilities[row, answer]:.2f} "
        f"instead of {labels[truth]} {test.probabilities[row, truth]:.2f}"
    )


def _thumbnail(image: Image.Image) -> bytes:
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
