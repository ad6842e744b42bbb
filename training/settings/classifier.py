"""Settings that every run of a classifier has."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from training.settings.run import RunSettings

DuplicatePolicy = Literal["report", "drop", "error"]


class ClassifierSettings(RunSettings):
    """A run that ends in a published classifier."""

    help_panel: ClassVar[str] = "Classifier"

    split_seed: int | None = Field(default=None, ge=0)
    """Seed of the split alone, for runs with different seeds on one split, such as those of an ensemble; default: the
    seed."""
    group: str = ""
    """Keep in one part what belongs together, such as all photographs of a patient: a column of the table, or for
    images a regular expression whose parentheses find the group in the path, such as "patient([0-9]+)"."""
    duplicates: DuplicatePolicy = "report"
    """What to do about items that are nearly the same as one of the test or the validation part: report them, drop them
    from the parts that the model is made with, or stop with an error."""
    calibrate: bool = True
    """Divide the logits by a temperature, found on the validation part, so that the classifier is right as often as it
    says; no answer changes."""

    @property
    def seed_of_split(self) -> int:
        """What the split is drawn with."""
        return self.seed if self.split_seed is None else self.split_seed
