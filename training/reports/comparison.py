"""The table of `python -m training compare`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from training.pipelines.image.compare import Comparison
from training.reports.classifier import write_image_report
from training.saying import say

_HEADINGS = (
    "test accuracy",
    "95 % interval",
    "macro F1",
    "validation",
    "epochs",
    "seconds",
    "over the first",
    "p",
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One row per mode, and those of the simple answers."""
    table = Table("", caption=f"{comparison.split}; p: McNemar's exact test", caption_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for row in comparison.modes:
        test, fit, difference = row.outcome.test, row.outcome.fit, row.difference
        table.add_row(
            row.mode,
            f"{test.accuracy:.4f}",
            str(row.interval),
            f"{test.macro_f1:.4f}",
            f"{fit.best_score:.4f}",
            f"{fit.best_epoch} of {fit.epochs}",
            f"{fit.seconds:.0f}",
            f"{difference.mean:+.4f} ({difference.interval})" if difference else "",
            f"{difference.p_value:.3f}" if difference else "",
        )
    for name, accuracy in comparison.baselines.items():
        table.add_row(name.replace("_", " "), f"{accuracy:.4f}", *[""] * (len(_HEADINGS) - 1))
    console.print(table)
    for row in comparison.modes:
        published, report = row.outcome.published, write_image_report(row.outcome)
        say(
            console,
            f"published {published.name} version {published.version}; report: {report}",
        )
