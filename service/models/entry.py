"""A version that the server knows, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from service.models.catalog import Stamp
from service.models.served_model import ServedModel


class State(StrEnum):
    """Where a version stands."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    UNLOADING = "UNLOADING"
    """It takes no more requests and finishes those that it has."""
    UNLOADED = "UNLOADED"
    """It was served and is not any more, as somebody asked for it."""


@dataclass
class Entry:
    """A version that was found in a repository. Version 0 stands for a folder without any version."""

    name: str
    version: int
    repository: Path
    state: State = State.LOADING
    reason: str = "being loaded"
    """Why it is not ready; of one that is ready, why its newer files are not in use."""
    model: ServedModel | None = None
    """Set while READY."""
    stamp: Stamp = ()
    """The files that were loaded, or tried last."""
    config: str = ""
    """The configuration that came with the request to load it, as JSON; empty: the one of the repository."""


@dataclass(frozen=True)
class IndexRow:
    """A version, or a model of which none is loaded, as the repository index of the tensor API shows it."""

    name: str
    version: int = 0
    """0: the model as a whole."""
    state: str = ""
    """READY, UNAVAILABLE, LOADING, UNLOADING; empty: it was never asked for."""
    reason: str = ""
