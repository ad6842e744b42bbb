"""Readings laid on a grid of time: sorted, one row a step, no value missing; and what had to be done for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Fill = Literal["linear", "last"]
"""What a missing number becomes: of the line between its neighbours, or the last known one (no future)."""
_WORDS: dict[Fill, str] = {"linear": "interpolated", "last": "filled with the last value"}


@dataclass(frozen=True)
class TableReport:
    """What was found and mended in a file."""

    rows: int
    fill: Fill = "linear"
    unsorted: bool = False
    untimed: int = 0
    """Rows without a time; they were left out."""
    duplicates: int = 0
    """Rows whose time another row had already; they were averaged."""
    off_grid: int = 0
    """Times between two steps of the grid; they were moved to the nearer one."""
    crowded: int = 0
    """Times that were moved to a step that another one has already; their rows were averaged."""
    missing_steps: int = 0
    """Stamps of the time grid that no row had; they were filled."""
    longest_gap: int = 0
    """Most of them in one go."""
    missing: dict[str, int] = field(default_factory=dict)
    """Cells without a value, by column; they were filled."""
    sentinels: dict[str, int] = field(default_factory=dict)
    """Cells with a value that the caller says stands for a missing one, by column; they were filled."""
    suspects: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Values like -999, far from all others, and how often they occur, by column; they were left as they are."""

    @property
    def missing_values(self) -> int:
        """Cells without a value."""
        return sum(self.missing.values())

    def findings(self) -> list[tuple[str, str]]:
        """What was found, and what was done about it; empty where the file was tidy."""
        filled = _WORDS[self.fill]
        longest = f", {self.longest_gap} in one go at most" if self.longest_gap > 1 else ""
        general = [
            (self.unsorted, "rows are not in order of time", "sorted by time"),
            (self.untimed, f"{self.untimed} rows without a time", "left out"),
            (self.duplicates, f"{self.duplicates} duplicated times", "averaged"),
            (self.off_grid, f"{self.off_grid} times between two steps", "moved to the nearer step"),
            (self.crowded, f"{self.crowded} times more than one at a step", "averaged"),
            (self.missing_steps, f"{self.missing_steps} missing times{longest}", filled),
        ]
        found = [(what, done) for applies, what, done in general if applies]
        found += [(f"{count} missing values of {name}", filled) for name, count in self.missing.items()]
        found += [(f"{count} sentinel values of {name}", filled) for name, count in self.sentinels.items()]
        for name, (value, count) in self.suspects.items():
            found.append((f"{value:g} in {count} rows of {name}, far from all others", "kept; is it a sentinel?"))
        return found

    def __str__(self) -> str:
        mended = [done if done.startswith("sorted") else f"{what} {done}" for what, done in self.findings()]
        return ", ".join([f"{self.rows} rows", *mended])


@dataclass(frozen=True)
class Table:
    """Columns of numbers, oldest row first."""

    times: list[datetime] | None
    """Time of each row, None where the file has no time column."""
    values: NDArray[np.float64]
    """[T, F], finite."""
    report: TableReport


def lay_on_grid(
    stamps: NDArray[np.float64],
    values: NDArray[np.float64],
    report: TableReport,
    step_seconds: int | None,
    stepwise: Sequence[bool],
) -> Table:
    """Sort rows by time, average what falls on the same time or step, and fill what is missing.

    Args:
        stamps: time of each row in seconds.
        values: [rows, F], NaN where missing, at least one number a column.
        report: what is known already.
        step_seconds: of the grid; the newest row is on it. None: leave the times as they are.
        stepwise: which columns are filled with the last value whatever the report says.

    Raises:
        OverflowError: the grid would have far more steps than there are rows.
    """
    unsorted = bool((np.diff(stamps) < 0).any())
    times, values = _average_duplicates(stamps, values)
    report = replace(report, unsorted=unsorted, duplicates=len(stamps) - len(times))
    if step_seconds is not None:
        exact = (times - times[-1]) / step_seconds
        steps = np.floor(exact + 0.5)
        if -steps[0] >= max(1_000_000, 100 * len(steps)):
            raise OverflowError(f"its times span {-steps[0]:.0f} steps of {step_seconds} s")
        present, values = _average_duplicates(steps, values)
        grid = np.arange(steps[0], 1)
        laid = np.full((len(grid), values.shape[1]), np.nan)
        laid[(present - steps[0]).astype(np.int64)] = values
        gaps = np.diff(present) - 1
        report = replace(
            report,
            off_grid=int((np.abs(exact - steps) > 1e-9).sum()),
            crowded=len(steps) - len(present),
            missing_steps=int(gaps.sum()),
            longest_gap=int(gaps.max(initial=0)),
        )
        times, values = times[-1] + grid * step_seconds, laid
    fill_missing(values, report.fill, stepwise)
    return Table([datetime.fromtimestamp(stamp, UTC) for stamp in times], values, report)


def fill_missing(values: NDArray[np.float64], fill: Fill, stepwise: Sequence[bool]) -> None:
    """Replace NaN in place; before the first value, by that one."""
    positions = np.arange(len(values))
    for index, step in enumerate(stepwise):
        known = ~np.isnan(values[:, index])
        if step or fill == "last":
            newest = np.maximum.accumulate(np.where(known, positions, -1))
            values[:, index] = values[np.where(newest < 0, known.argmax(), newest), index]
        else:
            values[~known, index] = np.interp(positions[~known], positions[known], values[known, index])


def _average_duplicates(
    stamps: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times, group = np.unique(stamps, return_inverse=True)
    present = ~np.isnan(values)
    total, count = np.zeros((len(times), values.shape[1])), np.zeros((len(times), values.shape[1]))
    np.add.at(total, group, np.where(present, values, 0))
    np.add.at(count, group, present)
    with np.errstate(invalid="ignore"):
        return times, total / count
