"""Labelled examples for a published model: a part of the data that it was trained on, or other data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from training.data.images import EvaluationImages, LabelledImages, read_images, split_images
from training.data.series.tables import read_readings
from training.data.series.windows import Windows, read_series_parts
from training.data.texts.files import read_texts
from training.data.texts.parts import TextPart, read_text_parts
from training.errors import DataError, SettingsError
from training.evaluation.classification import ClassificationReport, classification_report
from training.evaluation.estimates import Estimate, classifier_estimates, forecast_estimates
from training.evaluation.forecasts import forecast_errors
from training.export.text import text_tensor
from training.hashing import files_hash, named_files_hash
from training.pipelines.published.labels import known_classes, relabelled
from training.pipelines.published.of_card import SPLIT_SETTINGS, one_path, same_data, settings_of, target_std
from training.pipelines.series.streamed import stream_errors
from training.settings import ImageSettings, SeriesSettings, TextSettings
from zoo.card import SERIES_INPUT, Card, ImageTask, SeriesTask, TextTask
from zoo.golden import Run, Tensors, zero_state

Part = Literal["auto", "train", "validation", "test", "all"]
_SAMPLE = 8


@dataclass(frozen=True)
class Measured:
    """How a graph does on examples."""

    estimates: dict[str, Estimate]
    outputs: NDArray[np.float32]
    """Probabilities [N, K], or errors of forecasts [windows, horizon, targets]."""
    report: ClassificationReport | None = None
    """Of a classifier."""

    @property
    def headline(self) -> str:
        """The metric that decides."""
        return next(iter(self.estimates)) if self.report else "mae_scaled"


@dataclass(frozen=True)
class Examples:
    """What a model is measured on."""

    what: str
    """For people, e.g. `the test part of the data that it was trained on: 200 images`."""
    sha256: str
    """Of all the data."""
    trained_on: bool
    """Whether they are those that the model was trained on."""
    uses_test: bool
    """Whether the test part is in it."""
    measure: Callable[[Run], Measured]
    sample: Tensors
    """Some inputs; of a model with state, a first step."""
    files: Callable[[], Iterator[list[bytes]]] | None = None
    """Images as users send them, in the batches that are measured."""


ExamplesOf = Callable[[Part], Examples]
"""The examples of a part of data that are read already; SettingsError: the part cannot be had."""


@dataclass(frozen=True)
class Columns:
    """Where in a table things are, if not where training found them."""

    text: str | None = None
    label: str | None = None
    time: str | None = None
    time_format: str | None = None


def read_examples(
    card: Card,
    data: Sequence[Path],
    console: Console,
    *,
    batch_size: int = 32,
    columns: Columns | None = None,
    validation_file: Path | None = None,
    skip_broken: bool = False,
    origin: Card | None = None,
) -> ExamplesOf:
    """Read data as the model takes them, once for all parts of them.

    Args:
        card: of the model.
        data: in any form that training reads.
        console: for progress.
        batch_size: of what is given to a graph at once.
        columns: where in a table things are.
        validation_file: of texts, where the run had one.
        skip_broken: leave unreadable images out.
        origin: of the model whose parts are meant, where that is another one.

    Raises:
        DataError: they cannot be read, or have a class that the model does not know.
        InputError: a table cannot be read.
    """
    columns, origin = columns or Columns(), origin or card
    split = {name: value for name, value in origin.provenance.settings.items() if name in SPLIT_SETTINGS}
    match card.task:
        case ImageTask():
            images = settings_of(card, ImageSettings, data=one_path(data), **split)
            if skip_broken:
                images = images.model_copy(update={"skip_broken": True})
            return _images(card, origin, images, batch_size, console)
        case TextTask():
            given = _given(text_column=columns.text, label_column=columns.label, validation_file=validation_file)
            texts = settings_of(card, TextSettings, data=list(data), **split, **given)
            return _texts(card, origin, texts, batch_size)
        case SeriesTask(features=features, targets=targets):
            names = [feature.name for feature in features]
            own = {"target": names[: len(targets)], "feature": names[len(targets) :], "calendar": ""}
            given = _given(time_column=columns.time, time_format=columns.time_format)
            series = settings_of(card, SeriesSettings, data=one_path(data), **own, **split, **given)
            return _forecasts(card, origin, series, batch_size)


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _images(card: Card, origin: Card, settings: ImageSettings, batch_size: int, console: Console) -> ExamplesOf:
    task = card.task
    assert isinstance(task, ImageTask)
    images = read_images(
        settings.data,
        task.resize,
        skip_broken=settings.skip_broken,
        crop_to_boxes=settings.crop_to_boxes,
        console=console,
    )
    same = same_data(origin, images.sha256)
    if same:
        split = split_images(
            images,
            validation=settings.validation,
            test=settings.test,
            seed=settings.seed_of_split,
            group=settings.group,
        )
        parts = split.parts()
    else:
        parts = {name: _of_part(images, name) for name in ("train", "validation", "test")}
    parts = {name: indexes for name, indexes in parts.items() if indexes} | {"all": tuple(range(len(images.items)))}
    known = relabelled(images, task.labels, card.name)

    def of_part(part: Part) -> Examples:
        name = _choose(origin, parts, part)
        pictures = EvaluationImages(known, parts[name], task.resize)
        what = _describe(origin, same, name, f"{len(pictures)} images")
        sample, _ = next(pictures.batches(_SAMPLE))
        examples = _classified(what, images.sha256, same, name, lambda: pictures.batches(batch_size), sample)
        return replace(examples, files=lambda: _files(pictures, batch_size))

    return of_part


def _files(pictures: EvaluationImages, batch_size: int) -> Iterator[list[bytes]]:
    items = [pictures.images.items[index] for index in pictures.indexes]
    for start in range(0, len(items), batch_size):
        yield [item.file() for item in items[start : start + batch_size]]


def _texts(card: Card, origin: Card, settings: TextSettings, batch_size: int) -> ExamplesOf:
    assert isinstance(card.task, TextTask)
    if settings.validation_file and origin.provenance.settings and not _validated_on_file(origin):
        raise SettingsError(f"{origin.name!r} was not validated on a file of its own; leave out --validation-file")
    read = partial(read_texts, text_column=settings.text_column, label_column=settings.label_column)
    texts = read(settings.data)
    if settings.validation_file is not None:
        read([settings.validation_file])  # says what is wrong with it
    files = (settings.data, settings.validation_file)
    sha256 = files_hash(*files)
    same = same_data(origin, sha256, named_files_hash(*files))
    classes = known_classes(texts.labels, card.task.labels, settings.label_names, card.name)
    parts = {"all": TextPart(texts.texts, classes)}
    if same:
        split = read_text_parts(settings.model_copy(update={"label_names": ""}))
        known = known_classes(split.labels, card.task.labels, settings.label_names, card.name)
        named = {"train": split.train, "validation": split.validation, "test": split.test}
        parts |= {
            name: TextPart(found.texts, tuple(known[label] for label in found.classes)) for name, found in named.items()
        }

    def of_part(part: Part) -> Examples:
        if _validated_on_file(origin) and settings.validation_file is None and part == "auto":
            raise SettingsError(
                f"{origin.name!r} was validated on a file of its own; name it with --validation-file, so that the "
                "test part can be found again, or take --part all of other data"
            )
        name = _choose(origin, parts, part)
        chosen = parts[name]
        what = _describe(origin, same, name, f"{len(chosen.texts)} texts")
        sample = text_tensor(chosen.texts[:_SAMPLE])
        return _classified(what, sha256, same, name, lambda: _text_batches(chosen, batch_size), sample)

    return of_part


def _text_batches(part: TextPart, size: int) -> Iterator[tuple[Tensors, Sequence[int]]]:
    for start in range(0, len(part.texts), size):
        rows = slice(start, start + size)
        yield text_tensor(part.texts[rows]), part.classes[rows]


def _validated_on_file(card: Card) -> bool:
    return bool(card.provenance.settings.get("validation_file"))


def _classified(
    what: str,
    sha256: str,
    same: bool,
    name: str,
    batches: Callable[[], Iterator[tuple[Tensors, Sequence[int]]]],
    sample: Tensors,
) -> Examples:
    def measure(run: Run) -> Measured:
        report = classification_report(run, batches())
        return Measured(classifier_estimates(report), report.probabilities, report)

    return Examples(what, sha256, same, name in ("test", "all"), measure, sample)


def _forecasts(card: Card, origin: Card, settings: SeriesSettings, batch_size: int) -> ExamplesOf:
    readable = settings.data.is_file()  # else reading says what is missing
    sha256 = files_hash([settings.data]) if readable else ""
    same = readable and same_data(origin, sha256, named_files_hash([settings.data]))
    if same:
        split = read_series_parts(settings)
        parts = {"train": split.train, "validation": split.validation, "test": split.test}
    else:
        parts, settings = {}, settings.model_copy(update={"rows": None})
    parts["all"] = _all_windows(settings)

    def of_part(part: Part) -> Examples:
        name = _choose(origin, parts, part)
        windows = parts[name]
        history = windows.__getitems__(list(range(min(_SAMPLE, len(windows)))))[0].numpy()
        sample = {SERIES_INPUT: history[:1, :1], **zero_state(card)} if card.state else {SERIES_INPUT: history}
        what = _describe(origin, same, name, f"{len(windows)} forecasts")
        measure = partial(_measure_forecasts, card=card, windows=windows, batch_size=batch_size)
        return Examples(what, sha256, same, name in ("test", "all"), measure, sample)

    return of_part


def _measure_forecasts(run: Run, *, card: Card, windows: Windows, batch_size: int) -> Measured:
    task = card.task
    assert isinstance(task, SeriesTask)
    if card.state:
        errors = stream_errors(run, card.state, windows)
    else:
        errors = forecast_errors(run, windows.batches(batch_size))
    names = [target.name for target in task.targets]
    half_widths = np.array(task.interval.half_widths) if task.interval else None
    return Measured(forecast_estimates(errors, names, target_std(card).tolist(), half_widths), errors)


def _all_windows(settings: SeriesSettings) -> Windows:
    values = read_readings(settings).values
    needed = settings.window + settings.horizon
    if len(values) < needed:
        raise DataError(f"{settings.data} has {len(values)} rows; one forecast of this model takes {needed}")
    return Windows(values, settings.window, settings.horizon, len(settings.target))


def _of_part(images: LabelledImages, name: str) -> tuple[int, ...]:
    return tuple(index for index, item in enumerate(images.items) if item.part == name)


def _choose(card: Card, parts: Mapping[str, object], part: Part) -> str:
    if part == "auto":
        return "test" if "test" in parts else "all"
    if part not in parts:
        raise SettingsError(
            f"there is no {part} part: {card.name!r} was not trained on these data, and they have none of their own; "
            f"they have {', '.join(parts)}"
        )
    return part


def _describe(card: Card, same: bool, name: str, count: str) -> str:
    verb = "was" if same else "was not"
    whose = f"the data that {card.name} {verb} trained on"
    return f"all of {whose}: {count}" if name == "all" else f"the {name} part of {whose}: {count}"
