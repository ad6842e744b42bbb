"""What a run of images prints at its end."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from training.pipelines.image import ImageOutcome
from training.reports.classifier import write_image_report
from training.reports.summary import print_baselines, print_classifier, print_fit, print_published
from training.saying import say


def print_image_run(outcome: ImageOutcome, repository: Path, console: Console) -> None:
    """The fit, the confusion matrix, and where report and model are."""
    print_fit(outcome.fit, outcome.run_folder, console)
    print_classifier(outcome.card, outcome.test, console)
    print_baselines(outcome.test, outcome.baselines, console)
    say(console, f"torch and ONNX Runtime differ by {outcome.parity:.1e}, relative")
    say(console, f"report: {write_image_report(outcome)}")
    print_published(outcome.published, repository, console)
