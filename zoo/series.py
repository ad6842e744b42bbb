"""Tables of readings: reading a CSV file as it is found in real life, and cutting the window that a graph takes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.card import SeriesTask
from zoo.errors import InputError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})
"""Cells that stand for a missing value, in lower case."""


@dataclass(frozen=True)
class TableReport:
    """What was found and mended in a file."""

    rows: int
    unsorted: bool = False
    duplicates: int = 0
    """Rows whose time another row had already; they were averaged."""
    missing_steps: int = 0
    """Stamps of the time grid that no row had; they were interpolated."""
    missing_values: int = 0
    """Cells without a value; they were interpolated."""

    def __str__(self) -> str:
        mended = {
            "sorted by time": self.unsorted,
            f"{self.duplicates} duplicated times averaged": self.duplicates,
            f"{self.missing_steps} missing times interpolated": self.missing_steps,
            f"{self.missing_values} missing values interpolated": self.missing_values,
        }
        return ", ".join([f"{self.rows} rows", *(text for text, applies in mended.items() if applies)])


@dataclass(frozen=True)
class Table:
    """Columns of numbers, oldest row first."""

    times: list[datetime] | None
    """Time of each row, None where the file has no time column."""
    values: NDArray[np.float64]
    """[T, F], finite."""
    report: TableReport


def prepare_history(columns: Mapping[str, ArrayLike], task: SeriesTask) -> NDArray[np.float32]:
    """Order the columns as the graph wants them and keep the newest `window_steps` rows: float32 [window, features].

    Raises:
        InputError: a column is missing, unknown, too short, of another length than the others, or not finite.
    """
    _check_columns(columns, [feature.name for feature in task.features])
    arrays = [np.asarray(columns[feature.name], np.float32) for feature in task.features]
    lengths = {feature.name: len(array) for feature, array in zip(task.features, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        raise InputError(
            "SERIES_LENGTHS_DIFFER", f"the columns differ in length: {_listed(lengths)}; send equal lengths"
        )
    rows = len(arrays[0])
    if rows < task.window_steps:
        raise InputError(
            "SERIES_TOO_SHORT", f"the history has {rows} rows, the model needs {task.window_steps}; send more past rows"
        )
    history = np.stack([array[-task.window_steps :] for array in arrays], axis=1)
    if not np.isfinite(history).all():
        row, column = (int(index) for index in np.argwhere(~np.isfinite(history))[0])
        raise InputError(
            "SERIES_NOT_FINITE",
            f"{task.features[column].name}[{rows - task.window_steps + row}] is {history[row, column]}; "
            "fill missing values before sending",
        )
    return history


def read_table(path: Path, columns: Sequence[str], *, time_column: str = "", step_seconds: int | None = None) -> Table:
    """Read columns of a CSV file (comma, semicolon or tab; header in the first line), ready for a model.

    Rows are sorted by time and duplicated times averaged; missing values, and with `step_seconds` also missing stamps,
    are interpolated linearly; the report says so. Times without a zone are taken as UTC.

    Args:
        path: the file.
        columns: the columns to read, in the order of the result.
        time_column: the column of times, ISO 8601; "": the first column whose first cell is a time, if any.
        step_seconds: the time grid to lay the rows on; None: leave the rows as they are.

    Raises:
        InputError: TABLE_UNREADABLE, TABLE_COLUMN_MISSING, TABLE_VALUE_INVALID; the text names file, line and column.
    """
    header, rows = _read_rows(path)
    indexes = [_column_index(path, header, name) for name in columns]
    values = np.array([[_number(path, line, header, row, i) for i in indexes] for line, row in rows], np.float64)
    time_index = _time_index(path, header, rows[0][1], time_column)
    if time_index is None:
        filled, missing = _interpolate(path, values, columns)
        return Table(None, filled, TableReport(len(rows), missing_values=missing))
    stamps = np.array([_time(path, line, header, row, time_index) for line, row in rows], np.float64)
    return _on_grid(path, stamps, values, columns, step_seconds)


def _on_grid(
    path: Path,
    stamps: NDArray[np.float64],
    values: NDArray[np.float64],
    columns: Sequence[str],
    step_seconds: int | None,
) -> Table:
    unsorted = bool((np.diff(stamps) < 0).any())
    missing_values = int(np.isnan(values).sum())
    times, values = _average_duplicates(stamps, values)
    duplicates, missing_steps = len(stamps) - len(times), 0
    if step_seconds is not None:
        steps = np.round((times - times[-1]) / step_seconds).astype(np.int64)  # the newest row is on the grid
        if len(steps) and -steps[0] >= max(1_000_000, 100 * len(steps)):
            raise InputError("TABLE_UNREADABLE", f"{path}: its times span {-steps[0]} steps of {step_seconds} s")
        grid = np.arange(steps[0], 1)
        missing_steps = len(grid) - len(np.unique(steps))
        laid = np.full((len(grid), values.shape[1]), np.nan)
        laid[steps - steps[0]] = values
        times, values = times[-1] + grid * step_seconds, laid
    filled, _ = _interpolate(path, values, columns)
    report = TableReport(len(stamps), unsorted, duplicates, missing_steps, missing_values)
    return Table([datetime.fromtimestamp(stamp, UTC) for stamp in times], filled, report)


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


def _interpolate(path: Path, values: NDArray[np.float64], columns: Sequence[str]) -> tuple[NDArray[np.float64], int]:
    """Fill missing values in place; also give their number."""
    positions = np.arange(len(values))
    missing = np.isnan(values)
    for index, name in enumerate(columns):
        known = ~missing[:, index]
        if not known.any():
            raise InputError("TABLE_VALUE_INVALID", f"{path}: column {name!r} has no values")
        values[~known, index] = np.interp(positions[~known], positions[known], values[known, index])
    return values, int(missing.sum())


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the rows with their line numbers."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num + 1, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise InputError("TABLE_UNREADABLE", f"{path}: cannot be read as a UTF-8 CSV file: {reason}") from exc
    if not header or not rows:
        raise InputError("TABLE_UNREADABLE", f"{path}: expected a header line and at least one row")
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                "TABLE_UNREADABLE", f"{path}, line {line}: {len(row)} cells where the header has {len(header)}"
            )
    return header, rows


def _column_index(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise InputError("TABLE_COLUMN_MISSING", f"{path}: no column {name!r}; it has {', '.join(map(repr, header))}")
    return header.index(name)


def _time_index(path: Path, header: list[str], first_row: list[str], time_column: str) -> int | None:
    if time_column:
        return _column_index(path, header, time_column)
    return next((index for index, cell in enumerate(first_row) if _parse_time(cell) is not None), None)


def _number(path: Path, line: int, header: list[str], row: list[str], index: int) -> float:
    cell = row[index].strip()
    if cell.lower() in MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise InputError(
            "TABLE_VALUE_INVALID", f"{path}, line {line}: {header[index]} is {cell!r}, not a finite number"
        )
    return value


def _time(path: Path, line: int, header: list[str], row: list[str], index: int) -> float:
    time = _parse_time(row[index])
    if time is None:
        raise InputError(
            "TABLE_VALUE_INVALID",
            f"{path}, line {line}: {header[index]} is {row[index]!r}, not a time like 2018-01-31 23:00:00",
        )
    return time


def _parse_time(cell: str) -> float | None:
    try:
        if cell.strip().isdigit():  # fromisoformat takes 20180131 too, but such a column may as well be a number
            return None
        time = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _check_columns(columns: Mapping[str, object], features: list[str]) -> None:
    wanted = f"the model reads {', '.join(map(repr, features))}"
    for name in features:
        if name not in columns:
            raise InputError("SERIES_COLUMN_MISSING", f"no column {name!r}; {wanted}")
    for name in columns:
        if name not in features:
            raise InputError("SERIES_COLUMN_UNKNOWN", f"the column {name!r} is not wanted; {wanted}")


def _listed(lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {length}" for name, length in lengths.items())
