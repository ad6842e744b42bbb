"""A CSV file that names image files and their labels; the paths are relative to the folder of the table.

A column path (or file, filename, image), a column label (or class, category, species), and where the data have a split
of their own, a column part (or split, set) with train, val or test.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.data.images.items import GivenPart, ImageItem, ImageListing
from training.data.labels import in_order
from training.data.utf8 import read_utf8
from training.errors import DataError

PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "image_path")
LABEL_COLUMNS = ("label", "class", "category", "species", "target")
PART_COLUMNS = ("part", "split", "set", "subset")
_PARTS: dict[str, GivenPart | None] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    "test": "test",
    "": None,
}


def is_table(data: Path) -> bool:
    """Whether the data are a table."""
    return data.is_file() and data.suffix.lower() in (".csv", ".tsv")


def read_table(path: Path) -> ImageListing:
    """Read the table; the classes in alphabetical order, numbers by value.

    Raises:
        DataError: it cannot be read, a column or a file is missing, or a part is none; the text names the line.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(read_utf8(path), newline=""), delimiter=delimiter)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    path_column = _find(path, header, PATH_COLUMNS, "path")
    label_column = _find(path, header, LABEL_COLUMNS, "label")
    part_column = next((name for name in header if name.lower() in PART_COLUMNS), None)
    rows: list[tuple[str, str, GivenPart | None, dict[str, str]]] = []
    for row in _rows(path, reader):
        name, label = ((row[column] or "").strip() for column in (path_column, label_column))
        if not name or not label:
            raise DataError(f"{path}, line {reader.line_num}: the {'label' if name else 'path'} is missing")
        if not (path.parent / name).is_file():
            raise DataError(f"{path}, line {reader.line_num}: there is no file {path.parent / name}")
        part = _part(path, reader.line_num, row[part_column] if part_column else "")
        others = {column: (row[column] or "").strip() for column in header if column not in (path_column, label_column)}
        rows.append((name, label, part, others))
    classes = in_order(label for _, label, _, _ in rows)
    index = {name: number for number, name in enumerate(classes)}
    items = [
        ImageItem(Path(name).as_posix(), index[label], path.parent / name, part, columns=columns)
        for name, label, part, columns in rows
    ]
    return ImageListing(tuple(items), classes)


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        for row in reader:
            if any(row.get(reader.restkey) or ()):
                raise DataError(f"{path}, line {reader.line_num}: more cells than columns; is a quote missing?")
            yield row
    except csv.Error as exc:
        raise DataError(f"{path}, line {reader.line_num}: not a table: {exc}") from exc


def _find(path: Path, header: Sequence[str], usual: Sequence[str], what: str) -> str:
    found = next((name for name in header if name.lower() in usual), None)
    if found is None:
        raise DataError(
            f"{path} has no column for the {what}; its columns are {', '.join(map(repr, header)) or 'none'}, "
            f"expected one of {', '.join(usual)}"
        )
    return found


def _part(path: Path, line: int, text: str | None) -> GivenPart | None:
    value = (text or "").strip().lower()
    if value not in _PARTS:
        raise DataError(f"{path}, line {line}: the part is {text!r}; expected train, val or test")
    return _PARTS[value]
