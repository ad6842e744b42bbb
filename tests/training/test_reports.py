"""Reports: what they say about a training, and that one file is enough to read them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from tests.cards import image_card
from training.__main__ import main
from training.evaluation.calibration import calibration_error, reliability
from training.evaluation.classification import ClassificationReport, classification_report
from training.evaluation.forecasts import ForecastReport
from training.evaluation.verdict import learning_verdict
from training.experiments.kfold import FoldsOutcome
from training.experiments.trials import Score
from training.fit import FitResult
from training.pipelines.duplicates import Duplicates, Item, NearDuplicate
from training.reports.classifier import classifier_page, worst_mistakes
from training.reports.duplicates import add_duplicates
from training.reports.experiments import print_folds
from training.reports.forecast_figures import ForecastExample, forecast_examples, stretch_of_forecasts
from training.reports.numbers import chance
from training.reports.page import Page
from training.reports.summary import print_classifier, print_fit, print_published
from training.reports.tables import print_errors
from training.saying import say
from zoo.card import LOGITS, ImageTask, Quantity, SeriesTask
from zoo.repository import ModelVersion


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
        ([1.0], [0.9], "One epoch says nothing"),
        ([1.0, 0.5, 0.8], [0.9, 0.5, 0.8], "Unsteady: since epoch 2 the validation loss has risen by 60%"),
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


@pytest.mark.parametrize(
    ("labels", "width", "said"),
    [
        (["barn owl", "tawny owl", "robin"], 80, ["barn owl", "tawny owl"]),
        ([f"species of owl {number}" for number in range(10)], 80, ["10 species of owl 9", " 10 ┃ recall"]),
        ([f"class {number}" for number in range(20)], 60, ["the confusion matrix is in the report"]),
        ([f"class {number}" for number in range(21)], 400, ["the confusion matrix is in the report"]),
    ],
)
def test_a_confusion_matrix_is_printed_whole_or_not_at_all(labels: list[str], width: int, said: list[str]) -> None:
    console = Console(file=io.StringIO(), width=width)
    card = image_card()
    assert isinstance(card.task, ImageTask)
    task = card.task.model_copy(update={"labels": tuple(labels)})
    print_classifier(card.model_copy(update={"task": task}), report_of(len(labels)), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(part in text for part in said)
    assert "…" not in text


def test_errors_of_folds_in_small_units_are_told_with_what_their_interval_lacks(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    folds = tuple(Score(f"fold-{n}", {"mae": n * 1e-7}, 1, 1, 1.0, "") for n in (1, 2, 3))
    print_folds(FoldsOutcome(folds, [{"mae_scaled": "1"}], tmp_path), console)
    assert isinstance(console.file, io.StringIO)
    text = " ".join(console.file.getvalue().split())
    assert all(part in text for part in ("3e-07", "2e-07", "± 2.48e-07", "too narrow, since folds share training data"))


@pytest.mark.parametrize(("p_value", "shown"), [(None, ""), (0.0341, "0.034"), (1e-9, "< 0.001")])
def test_a_chance_is_never_nothing(p_value: float | None, shown: str) -> None:
    assert chance(p_value) == shown


def test_commands_to_go_on_with_can_be_pasted(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    interrupted = FitResult(1, 0.9, 2, True, 1.0, tuple(history([1.0], [1.0])))
    print_fit(interrupted, Path("my runs/a"), console)
    (tmp_path / "model.onnx").write_bytes(b"")
    print_published(ModelVersion("a", 1, tmp_path / "model.onnx"), Path("my zoo"), console)
    assert isinstance(console.file, io.StringIO)
    assert "--resume 'my runs/a'" in console.file.getvalue()
    assert "--repository 'my zoo'" in console.file.getvalue()


def test_an_accuracy_of_nothing_without_near_duplicates_is_told(tmp_path: Path) -> None:
    item = Item("a", "b")
    found = tuple(NearDuplicate("test", place, item, "train", 0, item, 1.0) for place in (0, 1))
    page = Page("x")
    add_duplicates(page, Duplicates(found, {}), report_of(2))
    page.write(tmp_path / "page.html")
    assert "without them: 0.0000, with them 0.5000" in (tmp_path / "page.html").read_text()


def test_a_report_is_one_file_and_its_text_is_escaped(tmp_path: Path) -> None:
    card = image_card()
    assert isinstance(card.task, ImageTask)
    odd = ("<b>bold</b>", 'a$_$b" [/x]', "별로")
    task = card.task.model_copy(update={"labels": odd})
    card = card.model_copy(update={"name": "<b>bold</b>", "task": task})
    fit = FitResult(1, 0.9, 2, False, 1.0, tuple(history([1.0, 0.9], [1.0, 0.9])))
    page = classifier_page(card, fit, report_of(3), {"naive_bayes": 0.25})
    page.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;bold" in text
    assert '<td>naive bayes</td><td class="number">0.2500</td><td>0.046 to 0.699</td>' in text
    assert "<b>" not in text
    assert text.count("a$_$b&quot; [/x]") == 3, "of a table of classes, and a row and a column of the confusion matrix"
    assert text.count('src="data:image/png;base64,') == 2
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


def test_names_of_classes_and_columns_are_no_markup_of_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=200)
    card = image_card()
    assert isinstance(card.task, ImageTask)
    odd = ("[/red]", "[bold]b", "c")
    card = card.model_copy(update={"task": card.task.model_copy(update={"labels": odd})})
    print_classifier(card, report_of(3), console)
    one = ForecastReport.of(np.ones((3, 2, 1), np.float32))
    task = SeriesTask(
        features=(Quantity(name="load"),),
        targets=(Quantity(name="load", unit="kW"),),
        window_steps=2,
        horizon_steps=2,
        step_seconds=60,
    )
    print_errors(task, {"this_model": one, "linear": one}, [1.0], console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert all(label in said for label in odd)
    assert "test errors of load [kW]" in said


@pytest.mark.parametrize("draw", [forecast_examples, stretch_of_forecasts])
def test_names_of_columns_are_no_formulas(draw: Callable[[Sequence[ForecastExample]], Figure]) -> None:
    values = np.ones(3, np.float32)
    Page("x").figure(draw([ForecastExample("US$ per $_$", values, values, values)]))


def test_a_confusion_of_many_classes_is_drawn(tmp_path: Path) -> None:
    card = image_card()
    assert isinstance(card.task, ImageTask)
    task = card.task.model_copy(update={"labels": tuple(f"class {number}" for number in range(41))})
    fit = FitResult(1, 0.9, 1, False, 1.0, tuple(history([1.0], [1.0])))
    classifier_page(card.model_copy(update={"task": task}), fit, report_of(41)).write(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count('src="data:image/png;base64,') == 3


def test_numbers_and_words_of_a_table(tmp_path: Path) -> None:
    page = Page("x")
    page.table([("a & b", 0.12345, 7), ("tiny", 0.0000012, 0.0), ("large", 123456.789, 7)], ("name", "share", "count"))
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert '<td>a &amp; b</td><td class="number">0.1235</td><td class="number">7</td>' in text
    assert '<td>tiny</td><td class="number">1.2e-06</td><td class="number">0.0000</td>' in text
    assert '<td>large</td><td class="number">123456.8</td>' in text


def test_a_terminal_without_a_sign_shows_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has published its model must not end in a trace because of the name of a class."""
    stdout = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setattr("training.__main__.build_app", lambda: lambda: say(Console(), "class \uc218: 3"))
    main()
    stdout.flush()
    assert stdout.buffer.getvalue() == b"class \\uc218: 3\n"  # type: ignore[attr-defined]
