"""`python -m training series`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings.series import SeriesSettings


@settings_command(SeriesSettings, "data", several_processes=True)
def command(settings: SeriesSettings) -> None:
    """Train a forecaster from a table of readings and publish it, scaler included.

    Ctrl-C ends the training and publishes the best model so far; a second Ctrl-C aborts.
    """
    from training.pipelines.series import train_series
    from training.reports.succession import report_against_origin
    from training.reports.tables import print_series_run

    console, outcome = Console(), train_series(settings)
    print_series_run(outcome, settings.output, console)
    report_against_origin(settings, [settings.data], outcome.published, outcome.run_folder, console)
