"""`python -m training pretrained`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import PretrainedSettings


@settings_command(PretrainedSettings, "backbone")
def command(settings: PretrainedSettings) -> None:
    """Publish a pre-trained network with its own head and labels, as it is."""
    from training.pipelines.pretrained import export_pretrained
    from training.reports.summary import print_published

    console = Console()
    outcome = export_pretrained(settings)
    console.print(f"torch and ONNX Runtime differ by {outcome.parity:.1e}, relative", highlight=False)
    print_published(outcome.published, settings.output, console)
