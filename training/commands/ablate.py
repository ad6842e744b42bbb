"""`python -m training ablate image|text|series`."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console

from training.commands.options import settings_command
from training.settings.experiments import (
    AblationSettings,
    ImageAblationSettings,
    SeriesAblationSettings,
    TextAblationSettings,
)

app = typer.Typer(
    help="Leave out one ingredient of a training at a time, with several seeds; the test part stays unseen.",
    no_args_is_help=True,
)


@app.command("image")
@settings_command(ImageAblationSettings, "data")
def image(settings: ImageAblationSettings) -> None:
    """What each ingredient of the training of an image classifier gives, by leaving it out.

    Takes all options of `python -m training image`, its settings file included. Nothing is published.
    """
    from training.experiments.images import ImageTask

    _run(settings, ImageTask())


@app.command("text")
@settings_command(TextAblationSettings, "data")
def text(settings: TextAblationSettings) -> None:
    """What each ingredient of the training of a text classifier gives, by leaving it out.

    Takes all options of `python -m training text`, its settings file included. Nothing is published.
    """
    from training.experiments.texts import TextTask

    _run(settings, TextTask())


@app.command("series")
@settings_command(SeriesAblationSettings, "data")
def series(settings: SeriesAblationSettings) -> None:
    """What each ingredient of the training of a forecaster gives, by leaving it out.

    Takes all options of `python -m training series`, its settings file included. Nothing is published.
    """
    from training.experiments.series import SeriesTask

    _run(settings, SeriesTask())


def _run(settings: AblationSettings, task: Any) -> None:
    from training.experiments.ablate import ablate
    from training.reports.experiments import print_ablation

    print_ablation(ablate(settings, task), Console())
