"""A repository of models: `<repository>/<model>/<version>/model.onnx`, version a positive integer.

Publishing writes a version under a hidden name and renames it into place, so a reader sees a version whole or not at
all. Hidden entries and files beside the version folders are ignored.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

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
    with _readable(repository):
        for folder in _visible_folders(repository):
            if not _NAME.fullmatch(folder.name):
                problems.append(Problem(folder.name, None, "the folder's name cannot name a model"))
                continue
            found = _version_folders(folder)
            if not found:
                problems.append(Problem(folder.name, None, "no version folder: expected <model>/<version>/model.onnx"))
            for entry in found:
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
    with _readable(path):
        for version in reversed(_version_folders(path)):
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
    if version is not None:
        _check_new(model, version)
    aside = model / f".{uuid4().hex}.tmp"  # nobody else's; containers that share a volume share process ids, too
    try:
        aside.mkdir(parents=True)
        write_model(onnx_bytes, card, aside / MODEL_FILE)
        _sync_folder(aside)
        destination = _rename_to_version(aside, model, version)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # it has versions; without any, it would be listed as a problem
            model.rmdir()
    _sync_folder(model)
    _sync_folder(repository)  # which the first version adds the model to
    return ModelVersion(name, int(destination.name), destination / MODEL_FILE)


def _check_new(model: Path, version: int) -> None:
    exists = (model / str(version)).exists()
    if exists or not _VERSION.fullmatch(str(version)):
        reason = f"exists already in {model}" if exists else "is not a positive integer of at most 18 digits"
        raise RepositoryError(f"version {version} {reason}; leave the version out to get the next one")


def _rename_to_version(aside: Path, model: Path, version: int | None) -> Path:
    """Give a finished folder its number: the one that was asked for, or the next that no other publisher takes."""
    while True:
        destination = model / str(_next_version(model) if version is None else version)
        try:
            return aside.rename(destination)  # fails where another publisher was first: its folder is not empty
        except OSError as exc:
            if not destination.exists():
                raise
            if version is not None:
                text = f"{destination} was published by somebody else meanwhile; publish again"
                raise RepositoryError(text) from exc


def _next_version(model: Path) -> int:
    highest = max((int(entry.name) for entry in model.iterdir() if _VERSION.fullmatch(entry.name)), default=0)
    if not _VERSION.fullmatch(str(highest + 1)):
        raise RepositoryError(f"{model} has version {highest}, the highest there can be; publish under another name")
    return highest + 1


def _version_folders(model: Path) -> list[Path]:
    """The folders of a model that have a version's name, by number."""
    found = [entry for entry in _visible_folders(model) if _VERSION.fullmatch(entry.name)]
    return sorted(found, key=lambda entry: int(entry.name))


def _visible_folders(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith((".", "__")) and entry.is_dir()]


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Translate what the file system says to one who may not look, or where there is nothing."""
    try:
        yield
    except OSError as exc:
        text = f"{exc.filename or folder} cannot be read as a model repository: {exc.strerror}"
        raise RepositoryError(text) from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
