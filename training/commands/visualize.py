"""`python -m training visualize`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import VisualizeSettings


@settings_command(VisualizeSettings, "run", "images")
def command(settings: VisualizeSettings) -> None:
    """Draw what the network of an image run has learnt: kernels, feature maps, and where it looks in some images."""
    from training.reports.visualize import visualize

    console = Console()
    for path in visualize(settings, Console(stderr=True)):
        console.print(str(path), highlight=False, soft_wrap=True)
