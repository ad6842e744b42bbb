"""The ledger of a folder of runs: how often the test part of which data was looked at, and by what.

A test part says how a model does on data that nobody has chosen anything by. Each look that leads to another choice
makes that less true, so the looks are counted.
"""

from __future__ import annotations

import csv
import io
import os
from datetime import UTC, datetime
from pathlib import Path

from training.errors import SettingsError

LEDGER_FILE = "test-uses.csv"
_COLUMNS = ("time", "data_sha256", "split", "by")


def count_test_use(runs: Path, data_sha256: str, split: str, by: str) -> int:
    """Note a look at the test part of some data.

    Args:
        runs: folder of runs.
        data_sha256: of all the data.
        split: how the test part was held out, in words.
        by: who looks: a run, or a command and a model.

    Returns:
        How many there have been, this one included.

    Raises:
        SettingsError: the ledger cannot be written.
    """
    path = runs / LEDGER_FILE
    row = (datetime.now(UTC).isoformat(timespec="seconds"), data_sha256, split, by)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _append(path, _COLUMNS)
        _append(path, row)
        with path.open(newline="", encoding="utf-8") as file:
            return sum(entry["data_sha256"] == data_sha256 for entry in csv.DictReader(file))
    except OSError as exc:
        raise SettingsError(
            f"{path}, which counts the looks at test parts, cannot be written: {exc.strerror}; name another folder "
            "with --runs"
        ) from exc


def describe_uses(count: int) -> str:
    """One sentence for people."""
    look = f"{_ordinal(count)} look at the test part of these data that was counted"
    return look if count == 1 else f"{look}; what was chosen by earlier ones makes its numbers too good"


def _append(path: Path, row: tuple[str, ...]) -> None:
    """In one piece, so that runs side by side do not mix their lines."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow(row)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, text.getvalue().encode())
    finally:
        os.close(descriptor)


def _ordinal(count: int) -> str:
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"
