"""`python -m training text`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings.text import TextSettings


@settings_command(TextSettings, "data", several_processes=True)
def command(settings: TextSettings) -> None:
    """Train a text classifier from labelled texts and publish it, tokenizer included.

    Ctrl-C ends the training and publishes the best model so far; a second Ctrl-C aborts.
    """
    from training.pipelines.text import train_text
    from training.reports.succession import report_against_origin
    from training.reports.tables import print_text_run

    console, outcome = Console(), train_text(settings)
    print_text_run(outcome, settings.output, console)
    report_against_origin(settings, settings.data, outcome.published, outcome.run_folder, console)
