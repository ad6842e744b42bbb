"""What every section gets: the machine, the models, and how much time there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.gpu.report import Report


@dataclass(frozen=True)
class Bench:
    """One run of the script."""

    report: Report
    device: str | None
    """ "cuda:0"; None: no CUDA device works here."""
    why_not: str
    """Why there is none."""
    folder: Path
    """For what is made on the way."""
    seconds: float
    """How long a number is measured."""
    families: tuple[str, ...]
    """Backbones to make."""
    repositories: tuple[Path, ...]
    """Further models to compare."""

    @property
    def models(self) -> Path:
        """The repository of the models that are made."""
        return self.folder / "models"

    @property
    def ordinal(self) -> int:
        """The number of the device."""
        return int((self.device or "").partition(":")[2] or 0)
