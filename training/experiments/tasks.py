"""What an experiment needs to know of images, texts and series: reading, cutting into folds, training, validating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from training.evaluation.classification import ClassificationReport
from training.fit import FitResult
from training.runs import TrainingRun
from training.settings import RunSettings
from training.settings.classifier import ClassifierSettings

LOWER_IS_BETTER = frozenset({"log_loss", "mae_scaled", "mse_scaled"})
"""Metrics that are errors; all others are shares of what is right."""

Answer = Mapping[str, object]
"""What a model said to one item of the validation part, by column."""
SettingsOfTask = TypeVar("SettingsOfTask", bound=RunSettings)


@dataclass(frozen=True)
class Validated:
    """A trained model on its validation part."""

    fit: FitResult
    metrics: dict[str, float]
    """By name; the first one is what chose the best epoch, and decides between trainings."""
    answers: Sequence[Answer]
    """One per item."""


class Task(Protocol[SettingsOfTask]):
    """A kind of data and of models. What `read` gives is only ever handed back."""

    kind: type[SettingsOfTask]

    def read(self, settings: SettingsOfTask, run: TrainingRun) -> Any:
        """Read and split the data.

        Raises:
            TrainingError: see `training.errors`.
        """

    def metric(self, settings: SettingsOfTask) -> str:
        """Name of the metric that chooses the best epoch, and decides between trainings."""

    def sha256(self, data: Any) -> str:
        """Hash of the data."""

    def clean(self, settings: SettingsOfTask, data: Any, run: TrainingRun) -> Any:
        """The data without near-duplicates across their parts, or all of them, as the settings say.

        Raises:
            DataError: there are near-duplicates, and the settings refuse them.
        """

    def folds(self, settings: SettingsOfTask, data: Any, count: int) -> list[Any]:
        """The same data split otherwise: what is not of the test part, each time with another validation part.

        Raises:
            DataError: there are too few data.
        """

    def validate(self, settings: SettingsOfTask, data: Any, run: TrainingRun) -> Validated:
        """Train on the training part and measure on the validation part."""


def classifier_metrics(report: ClassificationReport, first: str = "accuracy") -> dict[str, float]:
    """Those of a classifier, the one that decides first."""
    metrics = {"accuracy": report.accuracy, "macro_f1": report.macro_f1, "log_loss": report.log_loss}
    return {first: metrics[first]} | metrics


def classifier_answers(report: ClassificationReport, names: Sequence[str], labels: Sequence[str]) -> list[Answer]:
    """Answers in the order of the report."""
    given, sure = report.probabilities.argmax(1), report.probabilities.max(1)
    return [
        {
            "item": name,
            "label": labels[truth],
            "answer": labels[answer],
            "probability": f"{probability:.4f}",
            "correct": int(truth == answer),
        }
        for name, truth, answer, probability in zip(names, report.targets, given, sure, strict=True)
    ]


def describe_folds(settings: ClassifierSettings) -> str:
    """How the folds of a classifier are cut, for people."""
    groups = f" and by the groups of {settings.group}" if settings.group else ""
    return f"stratified by class{groups}, seed {settings.seed_of_split}"
