"""The split of a run, item by item, with hashes: which data it saw, and whether they are still the same."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from training.errors import DataError
from training.files import write_rows

MANIFEST_FILE = "split.csv"


class ManifestRow(NamedTuple):
    """An item of the data."""

    part: str
    """train, validation or test."""
    name: str
    """Free of machine paths, e.g. `train/daisy/1.jpg`."""
    label: str
    sha256: str


def write_manifest(folder: Path, rows: Sequence[ManifestRow]) -> None:
    """Write `split.csv`."""
    write_rows(folder / MANIFEST_FILE, [ManifestRow._fields, *rows])


def read_manifest(folder: Path) -> list[ManifestRow]:
    """Read it."""
    with (folder / MANIFEST_FILE).open(newline="", encoding="utf-8") as file:
        return [ManifestRow(*row) for row in list(csv.reader(file))[1:]]


def check_manifest(folder: Path, rows: Sequence[ManifestRow]) -> None:
    """Compare with the `split.csv` of a run that is resumed.

    Raises:
        DataError: an item, its part, its label or its content is another one; the text names the first.
    """
    before = {row.name: row for row in read_manifest(folder)}
    if change := _first_change(before, {row.name: row for row in rows}):
        raise DataError(f"the data are not those that the run in {folder} began with: {change}")


def _first_change(before: Mapping[str, ManifestRow], now: Mapping[str, ManifestRow]) -> str:
    for name in before:
        if name not in now:
            return f"{name} is missing"
    for name in now:
        if name not in before:
            return f"{name} is new"
    for name, row in now.items():
        if row.sha256 != before[name].sha256:
            return f"the content of {name} is another one"
        if row.label != before[name].label:
            return f"the label of {name} was {before[name].label!r} and is {row.label!r}"
        if row.part != before[name].part:
            return f"{name} was in the {before[name].part} part and is in the {row.part} part"
    return ""
