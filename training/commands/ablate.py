"""`python -m training ablate image|text|series`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from training.commands.experiments import experiment_app
from training.settings.experiments import (
    AblationSettings,
    ImageAblationSettings,
    SeriesAblationSettings,
    TextAblationSettings,
)

_SUMMARY = "What each ingredient of the training of {} gives, by leaving it out."


def _run(settings: AblationSettings, task: Any, _: str) -> None:
    from training.experiments.ablate import ablate
    from training.reports.experiments import print_ablation

    print_ablation(ablate(settings, task), Console())


app = experiment_app(
    "Leave out one ingredient of a training at a time, with several seeds; the test part stays unseen.",
    _run,
    {
        "image": (ImageAblationSettings, _SUMMARY.format("an image classifier")),
        "text": (TextAblationSettings, _SUMMARY.format("a text classifier")),
        "series": (SeriesAblationSettings, _SUMMARY.format("a forecaster")),
    },
)
