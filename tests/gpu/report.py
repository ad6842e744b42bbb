"""What was found: rows of one table, and the same as JSON."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"ok": "green", "failed": "red", "skipped": "yellow", "": ""}


@dataclass(frozen=True)
class Row:
    """One thing that was measured or checked."""

    section: str
    what: str
    value: float | None = None
    unit: str = ""
    ratio: float | None = None
    """To what `against` names."""
    against: str = ""
    verdict: str = ""
    """A key of `COLOURS`; empty: a number without a judgement."""
    note: str = ""


@dataclass
class Report:
    """All rows so far; written to the file after each section, so that an end by force leaves what there was."""

    console: Console
    file: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    section_name: str = ""

    def add(self, what: str, value: float | None = None, unit: str = "", **more: Any) -> None:
        """Add a row to the section that is under way."""
        self.rows.append(Row(self.section_name, what, value, unit, **more))

    def compare(self, what: str, value: float, unit: str, against: str, **more: Any) -> None:
        """Add a row with its ratio to a value that an earlier row has."""
        base = self.value(against)
        self.add(what, value, unit, ratio=value / base if base else None, against=against if base else "", **more)

    def check(self, what: str, good: bool, value: float | None = None, unit: str = "", note: str = "") -> None:
        """Add a row that is right or wrong."""
        self.add(what, value, unit, verdict="ok" if good else "failed", note=note)

    def value(self, what: str) -> float | None:
        """What the row of that name has."""
        return next((row.value for row in reversed(self.rows) if row.what == what), None)

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(row.verdict == "failed" for row in self.rows)

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Within, rows belong to the section; what goes wrong becomes a row, and the next section runs all the same."""
        self.section_name = name
        self.console.print(f"{name} ...", highlight=False)
        start = perf_counter()
        try:
            yield
        except Exception as exc:
            self.add(name, verdict="failed", note=f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}")
            self.console.print(Text("".join(traceback.format_exception(exc)), style="dim"))
        self.about.setdefault("seconds", {})[name] = round(perf_counter() - start, 1)
        self.write()

    def write(self) -> None:
        """Write the JSON."""
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"about": self.about, "rows": [asdict(row) for row in self.rows]}, indent=1)
            self.file.write_text(text, encoding="utf-8")

    def print(self) -> None:
        """Print the one table."""
        table = Table("section", "what", "value", "unit", "ratio", "to", "", box=None, pad_edge=False)
        before = ""
        for row in self.rows:
            if before and row.section != before:
                table.add_row()
            number = "" if row.value is None else f"{row.value:,.0f}" if abs(row.value) >= 100 else f"{row.value:.3g}"
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            said = Text(f"{row.verdict} {row.note}".strip(), style=COLOURS[row.verdict])
            section = row.section if row.section != before else ""
            table.add_row(section, row.what, number, row.unit, ratio, row.against, said)
            before = row.section
        self.console.print(table)


def timed(run: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each run, sorted, after three that do not count."""
    for _ in range(3):
        run()
    end, took = perf_counter() + seconds, []
    while perf_counter() < end or len(took) < 3:
        start = perf_counter()
        run()
        took.append(perf_counter() - start)
    return sorted(took)
