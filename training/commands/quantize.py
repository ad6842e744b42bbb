"""`python -m training quantize`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import QuantizeSettings


@settings_command(QuantizeSettings, "model", "data")
def command(settings: QuantizeSettings) -> None:
    """Publish a smaller version of a model, if it is as good on the test part of its data."""
    from training.pipelines.quantize import quantize
    from training.reports.summary import print_published

    console = Console()
    outcome = quantize(settings)
    before, after = outcome.before, outcome.after
    console.print(f"test {after.headline} {before.value:g} -> {after.value:g}", highlight=False)
    print_published(outcome.published, outcome.published.path.parents[2], console)
