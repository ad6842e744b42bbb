"""`python -m training ensemble`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import EnsembleSettings


@settings_command(EnsembleSettings, "data")
def command(settings: EnsembleSettings) -> None:
    """Join several published models of one task into one ONNX file, which answers with the mean of their answers."""
    from training.pipelines.published.ensemble import ensemble
    from training.reports.ensemble import print_ensemble

    print_ensemble(ensemble(settings), settings.output, Console())
