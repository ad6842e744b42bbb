"""A published model measured again, on the data and the split that its card names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from training.data.images import read_images, split_images
from training.data.series.windows import read_series_parts
from training.data.texts.parts import TextPart, read_text_parts
from training.errors import SettingsError
from training.evaluation.classification import ClassificationReport, classification_report
from training.evaluation.forecasts import forecast_report, shortened
from training.export.text import text_tensor
from training.hashing import named_files_hash
from training.pipelines.image.export import ImageData
from training.pipelines.published.of_card import AnySettings, check_same_data, one_path, same_data, settings_of
from training.settings import ImageSettings
from training.settings.series import SeriesSettings
from training.settings.text import TextSettings
from zoo.card import SERIES_INPUT, Card, ImageTask, Resize, SeriesTask, TextTask
from zoo.golden import Run, Tensors

_BATCH = 256
_SAMPLE = 8


@dataclass(frozen=True)
class Score:
    """How a graph does on the test part."""

    metrics: dict[str, float]
    """As the card has them."""
    headline: str
    """The one that decides."""
    lower_is_better: bool = False
    report: ClassificationReport | None = None
    """Of a classifier."""

    @property
    def value(self) -> float:
        """Of the metric that decides."""
        return self.metrics[self.headline]

    def drop_from(self, before: Score) -> float:
        """What was lost: of an accuracy the difference, of an error the part that it grew by; negative: nothing."""
        if not self.lower_is_better:
            return before.value - self.value
        if before.value == 0:
            return 0.0 if self.value == 0 else float("inf")
        return self.value / before.value - 1


@dataclass(frozen=True)
class HeldOut:
    """The test part of a model's data."""

    score: Callable[[Run], Score]
    sample: Tensors
    """Some inputs."""
    data_sha256: str
    """Of all the data."""
    images: ImageData | None = None
    """All parts, of an image model."""


def read_held_out(card: Card, data: Sequence[Path], console: Console) -> HeldOut:
    """Read the data that a model was trained on, and split them as its run did.

    Raises:
        DataError: they are not those that the card names, or cannot be read.
        SettingsError: the card does not say how they were split, or the model keeps state.
    """
    if card.state:
        raise SettingsError(f"{card.name!r} keeps state from step to step; only models without can be measured here")
    if not card.provenance.data_sha256:
        raise SettingsError(f"{card.name!r} was published ready-made, without data to measure it on")
    match card.task:
        case ImageTask(resize=resize):
            return _images(card, resize, one_path(data), console)
        case TextTask():
            return _texts(card, data)
        case SeriesTask():
            return _forecasts(card, card.task, one_path(data))


def _images(card: Card, resize: Resize, data: Path, console: Console) -> HeldOut:
    settings = _settings(ImageSettings, card, data=data)
    images = read_images(
        data, resize, skip_broken=settings.skip_broken, crop_to_boxes=settings.crop_to_boxes, console=console
    )
    check_same_data(card, same_data(card, images.sha256), images.sha256)
    split = split_images(
        images, validation=settings.validation, test=settings.test, seed=settings.seed_of_split, group=settings.group
    )
    parts = ImageData(images, split, resize)
    sample, _ = next(iter(parts.part(split.validation or split.test).batches(_SAMPLE)))
    return HeldOut(lambda run: _classifier_score(parts.report(run, split.test)), sample, images.sha256, parts)


def _texts(card: Card, data: Sequence[Path]) -> HeldOut:
    texts = read_text_parts(_settings(TextSettings, card, data=list(data)))
    check_same_data(card, same_data(card, texts.sha256, named_files_hash(data)), texts.sha256)
    sample = text_tensor(texts.test.texts[:_SAMPLE])
    return HeldOut(lambda run: _text_score(run, texts.test), sample, texts.sha256)


def _forecasts(card: Card, task: SeriesTask, data: Path) -> HeldOut:
    names = [quantity.name for quantity in task.features]
    targets = names[: len(task.targets)]
    columns = {"target": targets, "feature": names[len(targets) :], "calendar": ""}
    series = read_series_parts(_settings(SeriesSettings, card, data=data, **columns))
    check_same_data(card, same_data(card, series.sha256, named_files_hash([data])), series.sha256)
    history, _ = series.test.__getitems__(list(range(min(_SAMPLE, len(series.test)))))
    suffixes = [f"_{name}" if len(targets) > 1 else "" for name in targets]

    def score(run: Run) -> Score:
        report = forecast_report(run, series.test.batches(_BATCH))
        metrics = {f"mae{end}": shortened(report.mae_of(index)) for index, end in enumerate(suffixes)}
        return Score(metrics, f"mae{suffixes[0]}", lower_is_better=True)

    return HeldOut(score, {SERIES_INPUT: history.numpy()}, series.sha256)


def _settings(kind: type[AnySettings], card: Card, **own: object) -> AnySettings:
    """The settings of the run, as far as reading its data needs them."""
    if card.provenance.settings.get("validation_file"):
        raise SettingsError(f"{card.name!r} was validated on a file of its own; models like it cannot be measured here")
    return settings_of(card, kind, **own)


def _classifier_score(report: ClassificationReport) -> Score:
    return Score(report.metrics(), "accuracy", report=report)


def _text_score(run: Run, part: TextPart) -> Score:
    starts = np.arange(0, len(part.texts), _BATCH)
    batches = ((text_tensor(part.texts[at : at + _BATCH]), part.classes[at : at + _BATCH]) for at in starts)
    return _classifier_score(classification_report(run, batches))
