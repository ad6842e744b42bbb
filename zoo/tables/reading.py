"""From a CSV file to a table that a model can read: which cells stand for no value, and what becomes of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.calendar import PERIODS, calendar_column
from zoo.errors import InputError
from zoo.tables.file import TableFile, open_table
from zoo.tables.grid import Fill, Table, TableReport, fill_missing, lay_on_grid

_USUAL_SENTINELS = (-99999.0, -9999.0, -999.0, -99.0, 999.0, 9999.0, 99999.0)


def read_table(
    source: Path | TableFile,
    columns: Sequence[str],
    *,
    time_column: str = "",
    time_format: str = "",
    step_seconds: int | None = None,
    sentinels: Collection[float] = (),
    fill: Fill = "linear",
) -> Table:
    """Read columns of a CSV file (comma, semicolon or tab; header in the first line), ready for a model.

    Rows are sorted by time and duplicated times averaged; missing values and sentinels, and with `step_seconds` also
    missing stamps, are filled; the report says so. Times without a zone are taken as UTC.

    Args:
        source: the file, or one that was opened before.
        columns: the columns to read, in the order of the result. `wind=NW`, where the file has no such column, is 1
            where its column `wind` has the word NW, else 0; missing words are the last known ones. `time:hour` and the
            others of `zoo.calendar.PERIODS` are made from the times.
        time_column: the column of times, or several that make one, joined by commas; "": the first column whose first
            cell is a time, if any.
        time_format: of the times, as `strptime` takes it; "": ISO 8601.
        step_seconds: the time grid to lay the rows on; None: leave the rows as they are.
        sentinels: numbers that stand for a missing value.
        fill: what a missing number becomes.

    Raises:
        InputError: TABLE_UNREADABLE, TABLE_COLUMN_MISSING, TABLE_VALUE_INVALID; the text names file, line and column.
    """
    file = source if isinstance(source, TableFile) else open_table(source)
    clock = [name for name in columns if name in PERIODS and name not in file.header]
    if clock:
        own = [name for name in columns if name not in clock]
        table = read_table(
            *(file, own),
            time_column=time_column,
            time_format=time_format,
            step_seconds=step_seconds,
            sentinels=sentinels,
            fill=fill,
        )
        return _with_calendar(file, table, own, columns)
    values = np.stack([file.column(name) for name in columns], axis=1)
    stamps = file.stamps(time_column, time_format)
    timed = np.ones(len(values), bool) if stamps is None else ~np.isnan(stamps)
    values = values[timed]
    missing, as_missing = np.isnan(values), np.isin(values, list(sentinels))
    values[as_missing] = np.nan
    _check_values(file, columns, values)
    report = TableReport(
        rows=len(file.rows),
        fill=fill,
        untimed=int((~timed).sum()),
        missing=_count(columns, missing),
        sentinels=_count(columns, as_missing),
        suspects=_find_suspects(columns, values),
    )
    stepwise = [file.is_indicator(name) for name in columns]
    if stamps is None:
        fill_missing(values, fill, stepwise)
        return Table(None, values, report)
    try:
        return lay_on_grid(stamps[timed], values, report, step_seconds, stepwise)
    except OverflowError as exc:
        raise InputError("TABLE_UNREADABLE", f"{file.path}: {exc}") from exc


def _with_calendar(file: TableFile, table: Table, own: Sequence[str], columns: Sequence[str]) -> Table:
    """The table with those columns that are made from its times, in this order."""
    made = [name for name in columns if name not in own]
    if table.times is None:
        raise InputError("TABLE_COLUMN_MISSING", f"{file.path}: {made[0]!r} is made from times, and the file has none")
    stamps = np.array([time.timestamp() for time in table.times])
    found = dict(zip(own, table.values.T, strict=True)) | {name: calendar_column(name, stamps) for name in made}
    return replace(table, values=np.stack([found[name] for name in columns], axis=1))


def _check_values(file: TableFile, columns: Sequence[str], values: NDArray[np.float64]) -> None:
    for name, column in zip(columns, values.T, strict=True):
        if np.isnan(column).all():
            raise InputError("TABLE_VALUE_INVALID", f"{file.path}: column {name!r} has no values")


def _count(columns: Sequence[str], cells: NDArray[np.bool_]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(columns, cells.sum(0), strict=True) if count}


def _find_suspects(columns: Sequence[str], values: NDArray[np.float64]) -> dict[str, tuple[float, int]]:
    """Usual sentinels that lie farther from the other values of their column than these lie from each other."""
    found = {}
    for name, column in zip(columns, values.T, strict=True):
        known = column[~np.isnan(column)]
        for extreme in (known.min(), known.max()):
            others = known[known != extreme]
            if extreme in _USUAL_SENTINELS and len(others) and np.abs(others - extreme).min() > np.ptp(others):
                found[name] = (float(extreme), len(known) - len(others))
    return found
