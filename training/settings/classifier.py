"""Settings that every run of a classifier has."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from training.settings.run import RunSettings


class ClassifierSettings(RunSettings):
    """A run that ends in a published classifier."""

    help_panel: ClassVar[str] = "Classifier"

    split_seed: int | None = Field(default=None, ge=0)
    """Seed of the split alone, for runs with different seeds on one split, such as those of an ensemble; default: the
    seed."""
    calibrate: bool = True
    """Divide the logits by a temperature, found on the validation part, so that the classifier is right as often as it
    says; no answer changes."""

    @property
    def seed_of_split(self) -> int:
        """What the split is drawn with."""
        return self.seed if self.split_seed is None else self.split_seed
