"""`python -m training tune image|text|series`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from training.commands.experiments import experiment_app
from training.settings.experiments import (
    ImageSearchSettings,
    SearchSettings,
    SeriesSearchSettings,
    TextSearchSettings,
)

_SUMMARY = "Search for the settings of {}, by Optuna's tree-structured Parzen estimator."


def _run(settings: SearchSettings, task: Any, name: str) -> None:
    from training.experiments.tune import tune
    from training.reports.search import print_search

    print_search(tune(settings, task), name, Console())


app = experiment_app(
    "Search for the settings with the best validation score; the test part stays unseen.",
    _run,
    {
        "image": (ImageSearchSettings, _SUMMARY.format("an image classifier")),
        "text": (TextSearchSettings, _SUMMARY.format("a text classifier")),
        "series": (SeriesSearchSettings, _SUMMARY.format("a forecaster")),
    },
    result="Nothing is published; the best settings become a file for its --config.",
)
