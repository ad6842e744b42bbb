"""What `kfold`, `ablate` and `tune` have in common: a command for each task, with the options of its runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import typer

from training.commands.options import settings_command
from training.settings.experiments import ExperimentSettings

SettingsModel = TypeVar("SettingsModel", bound=ExperimentSettings)
_TASKS = {"image": "images.ImageTask", "text": "texts.TextTask", "series": "series.SeriesTask"}
"""In `training.experiments`."""


def experiment_app(
    text: str,
    run: Callable[[SettingsModel, Any, str], None],
    commands: Mapping[str, tuple[type[SettingsModel], str]],
    *,
    result: str = "Nothing is published.",
) -> typer.Typer:
    """The commands of an experiment.

    Args:
        text: the help of all.
        run: does it; gets the settings, the task and its name.
        commands: by name of the task the settings, and the first sentence of the help.
        result: the last sentence.
    """
    app = typer.Typer(help=text, no_args_is_help=True)

    def add(name: str, model: type[SettingsModel], summary: str) -> None:
        def command(settings: SettingsModel) -> None:
            module, _, task = _TASKS[name].partition(".")
            run(settings, getattr(importlib.import_module(f"training.experiments.{module}"), task)(), name)

        options = f"Takes all options of `python -m training {name}`, its settings file included."
        command.__doc__ = f"{summary}\n\n{options} {result}"
        app.command(name)(settings_command(model, "data")(command))

    for name, (model, summary) in commands.items():
        add(name, model, summary)
    return app
