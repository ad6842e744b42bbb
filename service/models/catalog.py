"""What the repositories hold now, and how to see that it has changed. Reads folders, never files; blocking."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import RepositoryError
from zoo.repository import ModelVersion, Scan, scan

log = logging.getLogger(__name__)

ScanRepository = Callable[[Path], Scan]
"""Lists the versions of a repository; raises RepositoryError."""
Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, bytes, time of change and inode of every file that makes a version: equal stamps, equal files."""
INITIAL_STATES, WARM_UPS = "initial_state", "warmup"
"""Folders beside the versions, whose files a configuration can name."""


@dataclass(frozen=True)
class Found:
    """A version as it lies on disk."""

    version: ModelVersion
    stamp: Stamp


@dataclass(frozen=True)
class ModelFolder:
    """What a repository has under the name of a model."""

    name: str
    repository: Path
    versions: dict[int, Found] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    """What cannot be a version, and why; 0 stands for the whole folder."""


def look(repositories: Sequence[Path], scan: ScanRepository = scan) -> dict[str, ModelFolder]:
    """Read all repositories. A model belongs to the first one that has it.

    Raises:
        RepositoryError: a repository cannot be read.
    """
    folders: dict[str, ModelFolder] = {}
    for repository in repositories:
        for name, folder in _look_into(repository, scan).items():
            first = folders.setdefault(name, folder)
            if first is not folder:
                _refuse_second(first, folder)
    return folders


def stamp(version: ModelVersion) -> Stamp:
    """The files of a version and all that it may share with its siblings: a configuration, labels, initial states,
    inputs to warm up with; () if it is gone, or cannot be looked at."""
    model = version.path.parents[1]
    try:
        shared = [folder for folder in (model / INITIAL_STATES, model / WARM_UPS) if folder.is_dir()]
        files = [
            file
            for folder in (version.path.parent, model, *shared)
            for file in sorted(folder.iterdir())
            if file.is_file() and not file.name.startswith(".")
        ]
        states = [(f"{file.relative_to(model)}", file.stat()) for file in files]
    except OSError:
        return ()
    return tuple((name, state.st_size, state.st_mtime_ns, state.st_ino) for name, state in states)


def _look_into(repository: Path, scan: ScanRepository) -> dict[str, ModelFolder]:
    found = scan(repository)
    folders: dict[str, ModelFolder] = {}
    for version in found.versions:
        folder = folders.setdefault(version.name, ModelFolder(version.name, repository))
        folder.versions[version.version] = Found(version, stamp(version))
    for problem in found.problems:
        folder = folders.setdefault(problem.name, ModelFolder(problem.name, repository))
        # The reason is shown to clients, who need not know the folders of this machine.
        folder.problems[problem.version or 0] = problem.reason.replace(f"{repository}/", "")
    return folders


def _refuse_second(first: ModelFolder, second: ModelFolder) -> None:
    """Two repositories have a model: versions of the second are reported, where the first has none of that number."""
    reason = f"model {first.name!r} is in another repository already; rename one of them"
    for number in {*second.versions, *second.problems}:
        if number in first.versions or number in first.problems:
            where = (second.name, number, second.repository, first.repository)
            log.warning("model %s %d of %s is not served: the model is in %s already; rename one of them", *where)
        else:
            first.problems[number] = reason


def identity(repository: Path) -> tuple[int, int]:
    """Which folder it is, whatever its name: a mounted volume that went away is another one.

    Raises:
        RepositoryError: it does not exist or cannot be read.
    """
    try:
        state = repository.stat()
    except OSError as exc:
        raise RepositoryError(f"{repository} cannot be read as a model repository: {exc.strerror}") from exc
    return state.st_dev, state.st_ino
