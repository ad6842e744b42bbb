"""`python -m training text`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.text_settings import TextSettings


@settings_command(TextSettings, "data")
def command(settings: TextSettings) -> None:
    """Train a text classifier from labelled texts and publish it, tokenizer included.

    Ctrl-C ends the training and publishes the best model so far; a second Ctrl-C aborts.
    """
    from training.pipelines.report import print_text_run
    from training.pipelines.text import train_text

    print_text_run(train_text(settings), settings.output, Console())
