"""`python -m training image`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import ImageSettings


@settings_command(ImageSettings, "data", several_processes=True)
def command(settings: ImageSettings) -> None:
    """Train an image classifier from a folder of class folders and publish it.

    Ctrl-C ends the training and publishes the best model so far; a second Ctrl-C aborts.
    """
    from training.pipelines.image import train_image
    from training.reports.image import print_image_run
    from training.reports.succession import report_against_origin

    console, outcome = Console(), train_image(settings)
    print_image_run(outcome, settings.output, console)
    report_against_origin(settings, [settings.data], outcome.published, outcome.run_folder, console)
