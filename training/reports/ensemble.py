"""The table of `python -m training ensemble`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.pipelines.published.ensemble import Ensemble
from training.reports.numbers import chance
from training.reports.summary import print_published
from training.saying import say


def print_ensemble(outcome: Ensemble, repository: Path, console: Console) -> None:
    """The ensemble beside each of its models, on the test part."""
    name = outcome.measured.headline
    table = Table("", "weight", name.replace("_", " "), "95 % interval", "the ensemble is better by", "p")
    for column in table.columns[1:]:
        column.justify = "right"
    estimate = outcome.measured.estimates[name]
    table.add_row("ensemble", "", f"{estimate.value:.4f}", _text(estimate.interval), "", "")
    for member in outcome.members:
        single, gain = member.measured.estimates[name], member.better_by
        table.add_row(
            f"{member.published.name} {member.published.version}",
            f"{member.weight:.3f}",
            f"{single.value:.4f}",
            _text(single.interval),
            f"{gain.value:+.4f} ({gain.interval})" if gain.interval else f"{gain.value:+.4f}",
            chance(member.p_value),
        )
    console.print(table)
    say(console, f"on {outcome.what}")
    say(console, f"the graph and the mean of its models differ by {outcome.parity:.1e}, relative")
    print_published(outcome.published, repository, console)


def _text(interval: object) -> str:
    return "" if interval is None else str(interval)
