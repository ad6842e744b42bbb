"""Folders that can be written, and files that are written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.errors import SettingsError


def check_repository(repository: Path, name: str, version: int | None) -> None:
    """Check, before anything is trained, that a model can be published.

    Raises:
        SettingsError: the folder cannot be written, or has the version already.
    """
    there = next(folder for folder in (repository, *repository.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise SettingsError(f"--output {repository}: {there} is a file; name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(f"--output {repository}: {there} cannot be written; name another folder")
    if version is not None and (repository / name / str(version)).exists():
        raise SettingsError(f"{repository} has a version {version} of {name}; leave --version out to get the next one")


def write_whole(path: Path, text: str) -> None:
    """Write a text, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, whole or not at all; errors as of `write_whole`."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_whole(path, text.getvalue())
