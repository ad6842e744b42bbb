"""What a training run prints at its end."""

from __future__ import annotations

from collections.abc import Mapping
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

_LARGEST_CONFUSION = 20


def print_fit(result: FitResult, run_folder: Path, console: Console) -> None:
    """One line on how the training went."""
    how = "interrupted, best kept" if result.interrupted else "best kept"
    say(
        console,
        f"\n{result.epochs} epochs in {result.seconds:.0f} s, {how}: epoch {result.best_epoch}, "
        f"validation score {result.best_score:.4f}; log in {run_folder}",
    )
    if result.interrupted:
        say(console, f"train on with: --resume {run_folder}")


def print_classifier(card: Card, report: ClassificationReport, console: Console) -> None:
    """Test metrics and, for few classes, who is taken for whom."""
    assert isinstance(card.task, ImageTask | TextTask), "forecasters have other metrics"
    labels = card.task.labels
    console.print(
        f"test accuracy [bold]{report.accuracy:.4f}[/bold], macro F1 {report.macro_f1:.4f}, "
        f"log loss {report.log_loss:.4f} on {report.confusion.sum()} items ({escape(card.provenance.split)})",
        highlight=False,
        soft_wrap=True,
    )
    if len(labels) <= _LARGEST_CONFUSION:
        console.print(_confusion_table(report, labels))
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
    say(console, f"serve it with: python -m service --repository {repository}")


def _confusion_table(report: ClassificationReport, labels: tuple[str, ...]) -> Table:
    table = Table(caption="rows: true, columns: predicted", caption_justify="left")
    table.add_column("")
    for label in labels:
        table.add_column(escape(label), justify="right")
    table.add_column("recall", justify="right")
    for index, (label, row) in enumerate(zip(labels, report.confusion, strict=True)):
        cells = [f"[bold]{count}[/bold]" if column == index else str(count) for column, count in enumerate(row)]
        table.add_row(escape(label), *cells, f"{row[index] / max(row.sum(), 1):.3f}")
    return table
