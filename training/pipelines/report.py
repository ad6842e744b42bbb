"""What a run of texts or of series prints at its end: the result beside the simple answers that it has to beat."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.pipelines.summary import print_classifier, print_fit, print_published
from training.pipelines.text import TextOutcome


def print_text_run(outcome: TextOutcome, repository: Path, console: Console) -> None:
    """The fit, the confusion matrix, accuracy beside the baselines, and where the model is."""
    print_fit(outcome.fit, outcome.run_folder, console)
    print_classifier(outcome.card, outcome.test, console)
    table = Table("", "test accuracy")
    table.columns[1].justify = "right"
    rows = {"this model": outcome.test.accuracy} | outcome.baselines
    for name, accuracy in rows.items():
        table.add_row(name.replace("_", " "), f"{accuracy:.4f}")
    console.print(table)
    console.print(f"validation accuracy {outcome.validation.accuracy:.4f}", highlight=False)
    console.print(f"torch and ONNX Runtime differ by {outcome.parity:.1e}, relative", highlight=False)
    print_published(outcome.published, repository, console)
