"""`python -m training compare`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import CompareSettings


@settings_command(CompareSettings, "data")
def command(settings: CompareSettings) -> None:
    """Train an image classifier by freezing, fine-tuning and from scratch on one split, and print one table.

    Each is published as NAME-MODE. Accuracies stand with their 95 % intervals; differences are of the same test images.
    Ctrl-C ends the training, publishes the best model so far and leaves out the modes after it.
    """
    from training.pipelines.image.compare import compare
    from training.reports.comparison import print_comparison

    print_comparison(compare(settings), Console())
