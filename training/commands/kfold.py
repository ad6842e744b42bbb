"""`python -m training kfold image|text|series`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from training.commands.experiments import experiment_app
from training.settings.experiments import FoldSettings, ImageFoldSettings, SeriesFoldSettings, TextFoldSettings


def _run(settings: FoldSettings, task: Any, _: str) -> None:
    from training.experiments.kfold import kfold
    from training.reports.experiments import print_folds

    print_folds(kfold(settings, task), Console())


app = experiment_app(
    "Train as many times as there are folds, each validated on another part; the test part stays unseen.",
    _run,
    {
        "image": (
            ImageFoldSettings,
            "K-fold validation of an image classifier: each image beside the test part is validated exactly once.",
        ),
        "text": (
            TextFoldSettings,
            "K-fold validation of a text classifier: each text beside the test part is validated exactly once.",
        ),
        "series": (
            SeriesFoldSettings,
            "Validation of a forecaster by rolling origin: each fold forecasts the time right after what it was "
            "trained on.",
        ),
    },
)
