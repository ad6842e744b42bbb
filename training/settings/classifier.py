"""Settings that every run of a classifier has."""

from __future__ import annotations

from typing import ClassVar

from training.settings.run import RunSettings


class ClassifierSettings(RunSettings):
    """A run that ends in a published classifier."""

    help_panel: ClassVar[str] = "Classifier"

    calibrate: bool = True
    """Divide the logits by a temperature, found on the validation part, so that the classifier is right as often as it
    says; no answer changes."""
