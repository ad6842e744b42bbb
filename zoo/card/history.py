"""Where a model comes from, and what became of it on the way: provenance and calibration."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from zoo.card.base import Part


class Provenance(Part):
    """Where the model comes from."""

    created: datetime
    recipe: str
    """What made it: a recipe module or a command line."""
    data: str
    """Name of the data set."""
    data_sha256: str = Field(pattern=r"^[0-9a-f]{64}$|^$")
    """Hash over the data it was trained and tested on; empty for weights that came ready-made."""
    split: str = ""
    """How the test part was held out, e.g. "stratified by class, seed 7: 560 train / 80 val / 160 test"."""
    test_uses: int = Field(default=0, ge=0)
    """How often the test part of these data had been looked at where it was trained, this time included; 0: unknown."""
    run: str = ""
    """Folder of the run, NAME/TIME below the folder of all runs; empty when no run made it."""
    weights_source: str = ""
    """Where the initial weights came from; empty when it was trained from scratch."""
    seed: int = 0
    versions: dict[str, str] = Field(default_factory=dict)
    """Software that made it, package name to version."""
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """Training settings that matter for reproduction, flat."""


class Calibration(Part):
    """Whether a classifier is right as often as it says, and what was done for it."""

    temperature: float = Field(gt=0)
    """Found on the validation part; the graph divides its logits by it."""
    error_before: float = Field(ge=0, le=1)
    """Expected calibration error on the test part with temperature 1, over ten bins of confidence."""
    error_after: float = Field(ge=0, le=1)
    """The same of the graph as it is."""

    def __str__(self) -> str:
        errors = f"{self.error_before:.4f} to {self.error_after:.4f}"
        return f"temperature {self.temperature:.3f}; expected calibration error on the test part from {errors}"
