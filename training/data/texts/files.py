"""Labelled texts from files: `text TAB label` lines, or tables (tab or comma separated) with a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.labels import in_order
from training.data.utf8 import read_utf8
from training.errors import DataError
from zoo.errors import InputError
from zoo.text import prepare_text

TEXT_COLUMNS = ("text", "document", "sentence", "review", "comment")
LABEL_COLUMNS = ("label", "class", "sentiment", "category", "target")
_MAX_CELL = 10_000_000  # characters; the csv module's own limit is 131,072


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and their classes."""

    texts: tuple[str, ...]
    """Not empty, Unicode normal form C."""
    labels: tuple[str, ...]
    """As written in the files."""
    skipped: int
    """Rows that were left out because their text is empty."""
    groups: tuple[str, ...]
    """What belongs together; empty where nobody asked."""

    def class_names(self) -> tuple[str, ...]:
        """The distinct labels; numbers in the order of their values, words alphabetically.

        Raises:
            DataError: there is only one.
        """
        found = set(self.labels)
        if len(found) < 2:
            raise DataError(
                f"all {len(self.labels)} texts have the label {min(found)!r}; a classifier needs two classes"
            )
        return in_order(found)

    def classes(self, names: Sequence[str]) -> tuple[int, ...]:
        """Index of each text's label in `names`.

        Raises:
            DataError: a label is not in `names`.
        """
        if unknown := set(self.labels) - set(names):
            raise DataError(f"label {min(unknown)!r} is not among the labels of the training data: {', '.join(names)}")
        index = {name: position for position, name in enumerate(names)}
        return tuple(index[label] for label in self.labels)


def read_texts(
    paths: Sequence[Path],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    group_column: str = "",
) -> LabelledTexts:
    """Read and concatenate files.

    A `.csv` file is comma separated with quotes; any other is tab separated without. A file with a column named in
    LABEL_COLUMNS (or `label_column`) has a header; any other must be `text TAB label` lines.

    Args:
        paths: UTF-8 files.
        text_column: name of the column of texts; None: the first of TEXT_COLUMNS that the file has.
        label_column: name of the column of labels; None: the first of LABEL_COLUMNS that the file has.
        group_column: name of the column that says what belongs together; empty: none.

    Raises:
        DataError: a file cannot be read or understood; the text names file and line.
    """
    texts: list[str] = []
    labels: list[str] = []
    groups: list[str] = []
    skipped = 0
    for path in paths:
        for line, text, label, group in _read_rows_of(path, text_column, label_column, group_column):
            if not label:
                raise DataError(f"{path}, line {line}: the label is missing; add it or remove the line")
            if not text.strip():
                skipped += 1
                continue
            texts.append(_prepared(path, line, text))
            labels.append(label)
            if group_column:
                groups.append(_checked_group(path, line, group, group_column))
    if not texts:
        raise DataError(f"no texts in {', '.join(str(path) for path in paths) or 'no files'}")
    return LabelledTexts(tuple(texts), tuple(labels), skipped, tuple(groups))


def _prepared(path: Path, line: int, text: str) -> str:
    try:
        return prepare_text(text)
    except InputError as exc:
        raise DataError(f"{path}, line {line}: {exc}") from exc


def _checked_group(path: Path, line: int, group: str, column: str) -> str:
    if not group:
        raise DataError(f"{path}, line {line}: nothing in the column {column!r}, which says what belongs together")
    return group


def _read_rows_of(
    path: Path, text_column: str | None, label_column: str | None, group_column: str
) -> Iterator[tuple[int, str, str, str]]:
    """Line number, text, label and group of each row."""
    rows = _read_rows(path)
    first_line, first = next(rows, (0, []))
    if not first:
        raise DataError(f"{path} is empty")
    columns = _find_columns(path, first, text_column, label_column)
    group_index = None
    if columns is None:
        if group_column:
            raise DataError(f"{path} has no header, so no column {group_column!r} for --group")
        text_index, label_index, width = 0, 1, 2
        rows = _chain((first_line, first), rows)
    else:
        (text_index, label_index), width = columns, len(first)
        group_index = _find(path, [cell.strip() for cell in first], group_column or None, ())
    for line, row in rows:
        if len(row) != width:
            raise DataError(
                f"{path}, line {line}: {len(row)} columns where {width} were expected{_advice(path, width)}"
            )
        group = "" if group_index is None else row[group_index].strip()
        yield line, row[text_index], row[label_index].strip(), group


def _find_columns(
    path: Path, first: list[str], text_column: str | None, label_column: str | None
) -> tuple[int, int] | None:
    """Indexes of the text and the label in a file with a header; None: the file has no header."""
    header = [cell.strip() for cell in first]
    label = _find(path, header, label_column, LABEL_COLUMNS)
    text = _find(path, header, text_column, TEXT_COLUMNS)
    if label is not None and text is not None:
        return text, label
    if label is None and text is None and len(header) == 2:
        return None
    missing = "text" if text is None else "label"
    raise DataError(
        f"{path}, line 1: no column looks like the {missing}; the columns are {', '.join(map(repr, header))}; "
        f"name it with --{missing}-column"
    )


def _find(path: Path, header: list[str], wanted: str | None, usual: Sequence[str]) -> int | None:
    if wanted is not None:
        if wanted not in header:
            raise DataError(f"{path}: no column {wanted!r}; the columns are {', '.join(map(repr, header))}")
        return header.index(wanted)
    names = [name.lower() for name in header]
    return next((names.index(name) for name in usual if name in names), None)


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number (of the row's end) and cells of each row that is not blank."""
    content = read_utf8(path, "CP949")
    if path.suffix.lower() != ".csv":
        for line, row in enumerate(content.split("\n"), 1):  # not splitlines: it also cuts at U+0085 and U+2028
            if row.strip():
                yield line, row.removesuffix("\r").split("\t")
        return
    before = csv.field_size_limit(_MAX_CELL)  # of the whole process
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as exc:
        raise DataError(f"{path}, line {reader.line_num}: not comma-separated values: {exc}") from exc
    finally:
        csv.field_size_limit(before)


def _advice(path: Path, width: int) -> str:
    if path.suffix.lower() == ".csv":
        return "; is a quote missing?"
    return "; is there a tab inside the text?" if width == 2 else ""


def _chain(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest
