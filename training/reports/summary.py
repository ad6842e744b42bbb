"""What a training run prints at its end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.evaluation.classification import ClassificationReport
from training.evaluation.significance import share_interval
from training.fit import FitResult
from training.saying import say
from zoo.card import Card, ImageTask, TextTask
from zoo.repository import ModelVersion

_LARGEST_CONFUSION, _LONGEST_LABEL = 20, 24
_UNLIMITED = 10_000


def print_fit(result: FitResult, run_folder: Path, console: Console) -> None:
    """One line on how the training went."""
    how = "interrupted, best kept" if result.interrupted else "best kept"
    say(
        console,
        f"\n{result.epochs} epochs in {result.seconds:.0f} s, {how}: epoch {result.best_epoch}, "
        f"validation score {result.best_score:.4f}; log in {run_folder}",
    )
    if result.interrupted:
        say(console, f"train on with: --resume {shlex.quote(str(run_folder))}")


def print_classifier(card: Card, report: ClassificationReport, console: Console) -> None:
    """Test metrics and, for few classes, what is taken for what."""
    assert isinstance(card.task, ImageTask | TextTask), "forecasters have other metrics"
    labels = card.task.labels
    console.print(
        f"test accuracy [bold]{report.accuracy:.4f}[/bold], macro F1 {report.macro_f1:.4f}, "
        f"log loss {report.log_loss:.4f} on {report.confusion.sum()} items ({escape(card.provenance.split)})",
        highlight=False,
        soft_wrap=True,
    )
    _print_confusion(report, labels, console)
    if card.calibration:
        say(console, f"calibration: {card.calibration}")
    for name, row in card.tried.items():
        values = ", ".join(f"{key} {value}" for key, value in row.items())
        say(console, f"tried {name}: {values}")


def accuracy_rows(test: ClassificationReport, baselines: Mapping[str, float]) -> list[tuple[str, float, str]]:
    """Name, test accuracy and its 95 % interval: of the classifier, then of the simple answers."""
    items = len(test.targets)
    return [
        (name.replace("_", " "), accuracy, str(share_interval(round(accuracy * items), items)))
        for name, accuracy in {"this model": test.accuracy, **baselines}.items()
    ]


def print_baselines(test: ClassificationReport, baselines: Mapping[str, float], console: Console) -> None:
    """The accuracy of a classifier beside that of the simple answers."""
    table = Table("", "test accuracy", "95 % interval")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, accuracy, interval in accuracy_rows(test, baselines):
        table.add_row(name, f"{accuracy:.4f}", interval)
    console.print(table)


def print_published(version: ModelVersion, repository: Path, console: Console) -> None:
    """Where the model is and how to serve it."""
    size = version.path.stat().st_size / 1e6
    say(
        console,
        f"\npublished {version.name} version {version.version}: {version.path} ({size:.1f} MB)",
    )
    say(console, f"serve it with: python -m service --repository {shlex.quote(str(repository))}")


def _print_confusion(report: ClassificationReport, labels: tuple[str, ...], console: Console) -> None:
    """With the names of the classes, or their numbers, whichever fits the terminal: rich cuts off what does not."""
    numbers = [str(number) for number in range(1, len(labels) + 1)]
    numbered = [f"{number} {label}" for number, label in zip(numbers, labels, strict=True)]
    for rows, columns in ((labels, labels), (numbered, numbers)) if len(labels) <= _LARGEST_CONFUSION else ():
        table = _confusion_table(report, rows, columns)
        if console.measure(table, options=console.options.update(max_width=_UNLIMITED)).maximum <= console.width:
            console.print(table)
            return
    say(console, "the confusion matrix is in the report: it is too large for the terminal")


def _confusion_table(report: ClassificationReport, rows: Sequence[str], columns: Sequence[str]) -> Table:
    table = Table(caption="rows: true, columns: predicted", caption_justify="left")
    table.add_column("", max_width=_LONGEST_LABEL, no_wrap=True)
    for name in (*columns, "recall"):
        table.add_column(escape(name), justify="right")
    for index, (name, counts) in enumerate(zip(rows, report.confusion, strict=True)):
        cells = [f"[bold]{count}[/bold]" if column == index else str(count) for column, count in enumerate(counts)]
        table.add_row(escape(name), *cells, f"{counts[index] / max(counts.sum(), 1):.3f}")
    return table
