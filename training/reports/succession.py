"""The table of a run that went on from a published model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.evaluation.estimates import Estimate
from training.pipelines.published.succession import Succession, compare_with_origin
from training.reports.numbers import chance
from training.saying import say
from training.settings import RunSettings
from zoo.repository import ModelVersion

SUCCESSION_FILE = "old-against-new.json"


def report_against_origin(
    settings: RunSettings, data: Sequence[Path], published: ModelVersion, run_folder: Path, console: Console
) -> None:
    """Of a run that went on from a published model, print old against new, and write `old-against-new.json`."""
    if settings.from_model is None:
        return
    succession = compare_with_origin(settings, data, published, run_folder, Console(stderr=True))
    print_succession(succession, console)
    text = json.dumps(asdict(succession), indent=2, ensure_ascii=False)
    (run_folder / SUCCESSION_FILE).write_text(text + "\n", encoding="utf-8")


def print_succession(succession: Succession, console: Console) -> None:
    """One row for each choice of test items."""
    metric = succession.metric.replace("_", " ")
    table = Table("test items", "", succession.old, succession.new, "the new one is better by", "p", title=metric)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in succession.rows:
        texts = (_text(row.old), _text(row.new), _text(row.better_by, "+"))
        table.add_row(row.items, str(row.count), *texts, chance(row.p_value))
    console.print(table)
    if succession.left_out:
        left = "none is left to compare on" if not succession.rows else "they do not count"
        say(
            console,
            f"{succession.left_out} test items were used to train {succession.old}; {left}",
            style="yellow",
        )


def _text(estimate: Estimate, sign: str = "") -> str:
    interval = f" ({estimate.interval.low:.3f} to {estimate.interval.high:.3f})" if estimate.interval else ""
    return f"{estimate.value:{sign}.4f}{interval}"
