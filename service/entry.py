"""A version that the server knows, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from service.served_model import ServedModel


class State(StrEnum):
    """Where a version stands."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass
class Entry:
    """A version that was found in a repository. Version 0 stands for a folder without any version."""

    name: str
    version: int
    repository: Path
    state: State = State.LOADING
    reason: str = "being loaded"
    """Why it is not ready."""
    model: ServedModel | None = None
    """Set while READY."""
