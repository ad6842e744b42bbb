"""The cells of a CSV file: comma, semicolon or tab; UTF-8; a header in the first line."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.errors import InputError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})
"""Cells that stand for a missing value, in lower case."""
INDICATOR = "="
"""A column `wind=NW` that the file does not have is 1 where its column `wind` has the word NW, else 0."""


@dataclass(frozen=True)
class TableFile:
    """A file, read as it is."""

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    """Line number and cells of each row that is not blank."""

    def index(self, name: str) -> int:
        """Position of a column.

        Raises:
            InputError: TABLE_COLUMN_MISSING, or TABLE_UNREADABLE where several have the name.
        """
        if name not in self.header:
            known = ", ".join(map(repr, self.header))
            raise InputError("TABLE_COLUMN_MISSING", f"{self.path}: no column {name!r}; it has {known}")
        if self.header.count(name) > 1:
            text = f"{self.path}: {self.header.count(name)} columns are called {name!r}; rename all but one"
            raise InputError("TABLE_UNREADABLE", text)
        return self.header.index(name)

    def is_indicator(self, name: str) -> bool:
        """Whether that is no column of the file, but says where one of them has a certain word."""
        return name not in self.header and name.rpartition(INDICATOR)[0] in self.header

    def column(self, name: str) -> NDArray[np.float64]:
        """The numbers of a column, or of an indicator, [rows]; missing ones are NaN.

        Raises:
            InputError: TABLE_COLUMN_MISSING, TABLE_VALUE_INVALID; the text names line and column.
        """
        if self.is_indicator(name):
            source, _, word = name.rpartition(INDICATOR)
            return np.array([_indicates(cell, word) for cell in self._cells(source)])
        index = self.index(name)
        return np.array([self._number(line, row, index) for line, row in self.rows], np.float64)

    def words(self, name: str) -> Counter[str]:
        """How often each word stands in a column."""
        return Counter(cell for cell in self._cells(name) if cell.lower() not in MISSING)

    def stamps(self, time_column: str = "", time_format: str = "") -> NDArray[np.float64] | None:
        """The time of each row in seconds since 1970, NaN where there is none; None: the file has no times.

        Args:
            time_column: see `read_table`.
            time_format: see `read_table`.

        Raises:
            InputError: TABLE_COLUMN_MISSING, TABLE_VALUE_INVALID.
        """
        indexes = self._time_indexes(time_column, time_format)
        if not indexes:
            return None
        return np.array([self._stamp(line, row, indexes, time_format) for line, row in self.rows], np.float64)

    def _cells(self, name: str) -> list[str]:
        index = self.index(name)
        return [row[index].strip() for _, row in self.rows]

    def _number(self, line: int, row: list[str], index: int) -> float:
        cell = row[index].strip()
        if cell.lower() in MISSING:
            return math.nan
        try:
            value = float(cell)
        except ValueError:
            value = math.inf
        if math.isinf(value):
            text = f"{self.path}, line {line}: {self.header[index]} is {cell!r}, not a finite number"
            raise InputError("TABLE_VALUE_INVALID", text)
        return value

    def _time_indexes(self, time_column: str, time_format: str) -> list[int]:
        if time_column:
            names = [time_column] if time_column in self.header else time_column.split(",")
            return [self.index(name.strip()) for name in names]
        first_row = self.rows[0][1]
        return [index for index, cell in enumerate(first_row) if parse_time(cell, time_format) is not None][:1]

    def _stamp(self, line: int, row: list[str], indexes: Sequence[int], time_format: str) -> float:
        parts = [row[index].strip() for index in indexes]
        if any(part.lower() in MISSING for part in parts):
            return math.nan
        cell = ",".join(parts)
        time = parse_time(cell, time_format)
        if time is None:
            name = ",".join(self.header[index] for index in indexes)
            wanted = f"of the form {time_format}" if time_format else "like 2018-01-31 23:00:00"
            raise InputError(
                "TABLE_VALUE_INVALID", f"{self.path}, line {line}: {name} is {cell!r}, not a time {wanted}"
            )
        return time


def open_table(path: Path) -> TableFile:
    """Read a file.

    Raises:
        InputError: TABLE_UNREADABLE; the text names the line.
    """
    header, rows = _parse(path, _read_utf8(path))
    if not header or not rows:
        raise InputError("TABLE_UNREADABLE", f"{path}: expected a header line and at least one row")
    for line, row in rows:
        if len(row) != len(header):
            text = f"{path}, line {line}: {len(row)} cells where the header has {len(header)}"
            raise InputError("TABLE_UNREADABLE", text)
    return TableFile(path, header, rows)


def parse_time(cell: str, time_format: str = "") -> float | None:
    """Seconds since 1970 of an ISO 8601 time, or of one in the form of `strptime`; None: it is no time."""
    try:
        if time_format:
            time = datetime.strptime(cell.strip(), time_format)
        elif cell.strip().isdigit():  # fromisoformat takes 20180131 too, but such a column may as well be a number
            return None
        else:
            time = datetime.fromisoformat(cell.strip())
    except (ValueError, re.error):  # strptime makes an expression of the form
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _indicates(cell: str, word: str) -> float:
    return math.nan if cell.lower() in MISSING else float(cell == word)


def _read_utf8(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise InputError("TABLE_UNREADABLE", f"{path}: cannot be read: {exc.strerror}") from exc
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        text = f"{path}, line {line}: byte 0x{data[exc.start]:02x} is not UTF-8"
        advice = f"convert the file, for example with: iconv -f CP1252 -t UTF-8 {path.name}"
        raise InputError("TABLE_UNREADABLE", f"{text}; {advice}") from exc


def _parse(path: Path, content: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    delimiter = max(",;\t", key=content.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        return header, [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as exc:
        raise InputError("TABLE_UNREADABLE", f"{path}, line {reader.line_num}: not a CSV file: {exc}") from exc
