"""Freezing, fine-tuning and training from scratch on one split."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from training.errors import SettingsError
from training.evaluation.significance import Interval, PairedDifference, paired_difference, share_interval
from training.pipelines.image.train import ImageOutcome, train_image
from training.settings import CompareSettings, ImageSettings
from training.settings.image import Mode


@dataclass(frozen=True)
class ComparedMode:
    """One way of training, on the test part."""

    mode: Mode
    outcome: ImageOutcome
    interval: Interval
    """Of the test accuracy."""
    difference: PairedDifference | None
    """Of the test accuracy from that of the first mode; None: it is the first."""


@dataclass(frozen=True)
class Comparison:
    """All ways of training, in the order of the settings."""

    modes: tuple[ComparedMode, ...]
    baselines: dict[str, float]
    """Test accuracy of the simple answers, by name."""
    split: str


def compare(settings: CompareSettings, console: Console | None = None) -> Comparison:
    """Train one classifier per mode, each published as NAME-MODE, and compare them on the test part.

    Ctrl-C ends the training of a mode and the comparison after it.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a model.
    """
    console = console or Console(stderr=True)
    outcomes: dict[Mode, ImageOutcome] = {}
    chosen = {mode: _settings_of(settings, mode) for mode in settings.modes}
    for mode, of_mode in chosen.items():
        console.print(f"\n{mode}", style="bold")
        outcomes[mode] = train_image(of_mode, recipe="python -m training compare", console=console)
        if outcomes[mode].fit.interrupted:
            break  # who presses Ctrl-C does not want the next training
    first = next(iter(outcomes.values()))
    compared = [
        ComparedMode(
            mode,
            outcome,
            share_interval(int(outcome.test.correct.sum()), len(outcome.test.correct)),
            None if outcome is first else paired_difference(outcome.test.correct, first.test.correct),
        )
        for mode, outcome in outcomes.items()
    ]
    return Comparison(tuple(compared), first.baselines, first.card.provenance.split)


def _settings_of(settings: CompareSettings, mode: Mode) -> ImageSettings:
    values = settings.model_dump(exclude={"modes", "scratch_epochs"})
    values |= {"mode": mode, "name": f"{settings.name}-{mode}"}
    if mode == "freeze":
        values |= {"epochs": settings.head_epochs or settings.epochs}
    if mode == "scratch":
        values |= {"weights": "none", "epochs": settings.scratch_epochs or settings.epochs}
    elif settings.weights == "none":
        raise SettingsError(f"--modes {mode} starts from trained weights; give --weights pretrained or FILE")
    return ImageSettings.model_validate(values)
