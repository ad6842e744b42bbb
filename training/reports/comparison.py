"""The table of `python -m training compare`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from training.pipelines.image.compare import Comparison
from training.reports.classifier import write_image_report
from training.reports.numbers import chance
from training.saying import say

_TEST = ("test accuracy", "95 % interval", "macro F1", "over the first", "p")
_TRAINING = ("validation", "epochs", "seconds")


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One row per mode, and those of the simple answers; in two tables, since one would be cut off at 80 columns."""
    console.print(_test_table(comparison))
    console.print(_training_table(comparison))
    for row in comparison.modes:
        published, report = row.outcome.published, write_image_report(row.outcome)
        say(console, f"published {published.name} version {published.version}; report: {report}")


def _test_table(comparison: Comparison) -> Table:
    table = _table(_TEST, f"{comparison.split}; p: McNemar's exact test")
    for row in comparison.modes:
        test, difference = row.outcome.test, row.difference
        table.add_row(
            row.mode,
            f"{test.accuracy:.4f}",
            str(row.interval),
            f"{test.macro_f1:.4f}",
            f"{difference.mean:+.4f} ({difference.interval})" if difference else "",
            chance(difference.p_value) if difference else "",
        )
    for name, accuracy in comparison.baselines.items():
        table.add_row(name.replace("_", " "), f"{accuracy:.4f}")
    return table


def _training_table(comparison: Comparison) -> Table:
    table = _table(_TRAINING, "validation: the score of the best epoch, which was chosen by it")
    for row in comparison.modes:
        fit = row.outcome.fit
        table.add_row(row.mode, f"{fit.best_score:.4f}", f"{fit.best_epoch} of {fit.epochs}", f"{fit.seconds:.0f}")
    return table


def _table(headings: Sequence[str], caption: str) -> Table:
    table = Table("", caption=caption, caption_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
