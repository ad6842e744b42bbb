"""`python -m training image`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import ImageSettings


@settings_command(ImageSettings, "data")
def command(settings: ImageSettings) -> None:
    """Train an image classifier from a folder of class folders and publish it.

    Ctrl-C ends the training and publishes the best model so far; a second Ctrl-C aborts.
    """
    from training.pipelines.image import train_image
    from training.reports.summary import print_classifier, print_fit, print_published

    console = Console()
    outcome = train_image(settings)
    print_fit(outcome.fit, outcome.run_folder, console)
    print_classifier(outcome.card, outcome.test, console)
    console.print(f"torch and ONNX Runtime differ by {outcome.parity:.1e}, relative", highlight=False)
    print_published(outcome.published, settings.output, console)
