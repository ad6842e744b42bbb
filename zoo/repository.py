"""A repository of models: `<repository>/<model>/<version>/model.onnx`, version a positive integer.

Publishing writes a version under a hidden name and renames it into place, so a reader sees a version whole or not at
all. Hidden entries and files beside the version folders are ignored.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from zoo.card import Card
from zoo.errors import RepositoryError
from zoo.package import write_model

MODEL_FILE = "model.onnx"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model and the file that holds it."""

    name: str
    version: int
    path: Path


@dataclass(frozen=True)
class Problem:
    """What cannot be a model version; `version` is None where the whole model is concerned."""

    name: str
    version: int | None
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a repository holds: versions by name and number, and what is wrong with the rest."""

    versions: tuple[ModelVersion, ...]
    problems: tuple[Problem, ...]


def check_name(name: str) -> str:
    """Return `name` if it can name a model.

    Raises:
        RepositoryError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise RepositoryError(
            f"{name!r} cannot name a model; use 1 to 128 letters, digits, '.', '_', '-', the first a letter or digit"
        )
    return name


def scan(repository: Path) -> Scan:
    """List the versions in a repository, without opening them.

    Raises:
        RepositoryError: the folder does not exist or cannot be read.
    """
    versions: list[ModelVersion] = []
    problems: list[Problem] = []
    for folder in _visible_folders(repository):
        if not _NAME.fullmatch(folder.name):
            problems.append(Problem(folder.name, None, "the folder's name cannot name a model"))
            continue
        found = [entry for entry in _visible_folders(folder) if _VERSION.fullmatch(entry.name)]
        if not found:
            problems.append(Problem(folder.name, None, "no version folder: expected <model>/<version>/model.onnx"))
        for entry in sorted(found, key=lambda entry: int(entry.name)):
            path, version = entry / MODEL_FILE, int(entry.name)
            if path.is_file():
                versions.append(ModelVersion(folder.name, version, path))
            else:
                problems.append(Problem(folder.name, version, f"no file {MODEL_FILE} in {entry}"))
    return Scan(tuple(versions), tuple(problems))


def find_model(path: Path) -> Path:
    """The model file that a path means: itself, that in the folder of a version, or a model's newest version.

    Raises:
        RepositoryError: there is none.
    """
    if path.is_file():
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    versions = [entry for entry in _visible_folders(path) if _VERSION.fullmatch(entry.name)]
    for version in sorted(versions, key=lambda entry: int(entry.name), reverse=True):
        if (version / MODEL_FILE).is_file():
            return version / MODEL_FILE
    raise RepositoryError(f"{path} holds no model; give a {MODEL_FILE}, or the folder of a model or of its version")


def publish(onnx_bytes: bytes, card: Card, repository: Path, name: str, version: int | None = None) -> ModelVersion:
    """Add a version to a repository, whole or not at all.

    Args:
        onnx_bytes: a serialised ONNX model.
        card: its card.
        repository: the folder; made where it does not exist.
        name: the model's name.
        version: a positive integer; None: one more than the highest there is.

    Raises:
        RepositoryError: the name is not usable, or the version exists.
    """
    model = repository / check_name(name)
    model.mkdir(parents=True, exist_ok=True)
    number = _next_version(model) if version is None else version
    destination = model / str(number)
    if number < 1 or destination.exists():
        reason = "is not a positive integer" if number < 1 else f"exists already in {model}"
        raise RepositoryError(f"version {number} {reason}; leave the version out to get the next one")
    aside = model / f".{number}.{os.getpid()}.tmp"
    try:
        aside.mkdir()
        write_model(onnx_bytes, card, aside / MODEL_FILE)
        _rename_to_new(aside, destination)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _sync_folder(model)
    return ModelVersion(name, number, destination / MODEL_FILE)


def _rename_to_new(aside: Path, destination: Path) -> None:
    try:
        aside.rename(destination)  # fails where another publisher was first: its folder is not empty
    except OSError as exc:
        if not destination.exists():
            raise
        raise RepositoryError(f"{destination} was published by somebody else meanwhile; publish again") from exc


def _next_version(model: Path) -> int:
    return max((int(entry.name) for entry in model.iterdir() if _VERSION.fullmatch(entry.name)), default=0) + 1


def _visible_folders(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as exc:
        raise RepositoryError(f"{folder} cannot be read as a model repository: {exc.strerror}") from exc
    return [entry for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__"))]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
