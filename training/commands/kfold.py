"""`python -m training kfold image|text|series`."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console

from training.commands.options import settings_command
from training.settings.experiments import FoldSettings, ImageFoldSettings, SeriesFoldSettings, TextFoldSettings

app = typer.Typer(
    help="Train as many times as there are folds, each validated on another part; the test part stays unseen.",
    no_args_is_help=True,
)


@app.command("image")
@settings_command(ImageFoldSettings, "data")
def image(settings: ImageFoldSettings) -> None:
    """K-fold validation of an image classifier: each image beside the test part is validated exactly once.

    Takes all options of `python -m training image`, its settings file included. Nothing is published.
    """
    from training.experiments.images import ImageTask

    _run(settings, ImageTask())


@app.command("text")
@settings_command(TextFoldSettings, "data")
def text(settings: TextFoldSettings) -> None:
    """K-fold validation of a text classifier: each text beside the test part is validated exactly once.

    Takes all options of `python -m training text`, its settings file included. Nothing is published.
    """
    from training.experiments.texts import TextTask

    _run(settings, TextTask())


@app.command("series")
@settings_command(SeriesFoldSettings, "data")
def series(settings: SeriesFoldSettings) -> None:
    """Validation of a forecaster by rolling origin: each fold forecasts the time right after what it was trained on.

    Takes all options of `python -m training series`, its settings file included. Nothing is published.
    """
    from training.experiments.series import SeriesTask

    _run(settings, SeriesTask())


def _run(settings: FoldSettings, task: Any) -> None:
    from training.experiments.kfold import kfold
    from training.reports.experiments import print_folds

    print_folds(kfold(settings, task), Console())
