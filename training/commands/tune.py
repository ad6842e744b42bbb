"""`python -m training tune image|text|series`."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console

from training.commands.options import settings_command
from training.settings.experiments import (
    ImageSearchSettings,
    SearchSettings,
    SeriesSearchSettings,
    TextSearchSettings,
)

app = typer.Typer(
    help="Search for the settings with the best validation score; the test part stays unseen.",
    no_args_is_help=True,
)


@app.command("image")
@settings_command(ImageSearchSettings, "data")
def image(settings: ImageSearchSettings) -> None:
    """Search for the settings of an image classifier, by Optuna's tree-structured Parzen estimator.

    Takes all options of `python -m training image`, its settings file included. Nothing is published; the best settings
    become a file for its --config.
    """
    from training.experiments.images import ImageTask

    _run(settings, ImageTask(), "image")


@app.command("text")
@settings_command(TextSearchSettings, "data")
def text(settings: TextSearchSettings) -> None:
    """Search for the settings of a text classifier, by Optuna's tree-structured Parzen estimator.

    Takes all options of `python -m training text`, its settings file included. Nothing is published; the best settings
    become a file for its --config.
    """
    from training.experiments.texts import TextTask

    _run(settings, TextTask(), "text")


@app.command("series")
@settings_command(SeriesSearchSettings, "data")
def series(settings: SeriesSearchSettings) -> None:
    """Search for the settings of a forecaster, by Optuna's tree-structured Parzen estimator.

    Takes all options of `python -m training series`, its settings file included. Nothing is published; the best
    settings become a file for its --config.
    """
    from training.experiments.series import SeriesTask

    _run(settings, SeriesTask(), "series")


def _run(settings: SearchSettings, task: Any, command: str) -> None:
    from training.experiments.tune import tune
    from training.reports.search import print_search

    print_search(tune(settings, task), command, Console())
