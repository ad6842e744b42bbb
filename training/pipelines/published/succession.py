"""A model that went on from a published one, beside it on the same test part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from training.errors import TrainingError
from training.evaluation.estimates import Estimate
from training.evaluation.significance import share_interval
from training.pipelines.origin import Origin, find_origin
from training.pipelines.published.evaluate import compare, open_published
from training.pipelines.published.examples import Measured, read_examples
from training.runs import SETTINGS_FILE, read_manifest, read_values
from training.saying import say
from training.settings import RunSettings, TextSettings
from zoo.card import LOGITS, Card, ImageTask, SeriesTask
from zoo.errors import ZooError
from zoo.golden import Run, Tensors
from zoo.repository import ModelVersion
from zoo.runtime import make_run, open_session

_NEVER = -100.0
"""Logit of a class that a model does not know."""


@dataclass(frozen=True)
class Row:
    """Both models on some items of the test part."""

    items: str
    """Which, for people."""
    count: int
    old: Estimate
    new: Estimate
    better_by: Estimate
    p_value: float | None


@dataclass(frozen=True)
class Succession:
    """Old against new."""

    old: str
    new: str
    metric: str
    rows: tuple[Row, ...]
    left_out: int
    """Test items that the old model had learnt from, and that do not count therefore."""


def compare_with_origin(
    settings: RunSettings, data: Sequence[Path], published: ModelVersion, run_folder: Path, console: Console
) -> Succession:
    """Measure both on the test part of the new data, without what the old one had learnt from.

    Raises:
        TrainingError: see `find_origin` and `read_examples`.
    """
    assert settings.from_model is not None, "only called for runs that go on. This is a bug."
    origin, new = find_origin(settings.from_model, settings.runs), open_published(published.path)
    held_out = settings.validation_file if isinstance(settings, TextSettings) else None
    console.print(f"comparing with {origin.label} on the same test part", highlight=False)
    examples = read_examples(new.card, data, console, validation_file=held_out)("test")
    of_old = examples
    if isinstance(new.card.task, ImageTask) and isinstance(origin.card.task, ImageTask):
        task = new.card.task.model_copy(update={"resize": origin.card.task.resize})
        if task != new.card.task:  # the old model takes the same images in another size
            of_old = read_examples(new.card.model_copy(update={"task": task}), data, console)("test")
    old_run = make_run(open_session(origin.path))
    if not isinstance(new.card.task, SeriesTask):
        old_run = _widened(old_run, origin.labels, new.card.task.labels)
    before, after = of_old.measure(old_run), examples.measure(make_run(open_session(published.path)))
    rows, left_out = _rows(origin, new.card, before, after, _unseen(settings, origin, run_folder, console))
    return Succession(origin.label, f"{published.name} {published.version}", after.headline, tuple(rows), left_out)


def _rows(
    origin: Origin, card: Card, before: Measured, after: Measured, unseen: NDArray[np.bool_]
) -> tuple[list[Row], int]:
    if before.report is None or after.report is None:
        return [_row("all forecasts", before, after, card)], 0
    known = np.isin(after.report.targets, [_labels(card).index(label) for label in origin.labels])
    rows = []
    if unseen.any():
        rows.append(_row("all" if unseen.all() else "new to both", *_taken(before, after, unseen), card))
    if not known.all() and (both := known & unseen).any():
        rows.append(_row("of labels that both know", *_taken(before, after, both), card))
    return rows, int((~unseen).sum())


def _row(items: str, before: Measured, after: Measured, card: Card) -> Row:
    name = after.headline
    better_by, p_value = compare(after, before, card)
    return Row(items, len(after.outputs), before.estimates[name], after.estimates[name], better_by, p_value)


def _taken(before: Measured, after: Measured, chosen: NDArray[np.bool_]) -> tuple[Measured, Measured]:
    return _only(before, chosen), _only(after, chosen)


def _only(measured: Measured, chosen: NDArray[np.bool_]) -> Measured:
    """The same for some items; of the metrics the accuracy."""
    report = measured.report
    assert report is not None, "forecasts are compared as a whole. This is a bug."
    part = replace(report, probabilities=report.probabilities[chosen], targets=report.targets[chosen])
    hits = int(part.correct.sum())
    accuracy = Estimate(hits / len(part.targets), share_interval(hits, len(part.targets)))
    return Measured({"accuracy": accuracy}, part.probabilities, part)


def _unseen(settings: RunSettings, origin: Origin, now: Path, console: Console) -> NDArray[np.bool_]:
    """Of each test item, in order, whether no earlier run had it for training or for validation."""
    learnt: set[str] = set()
    for run in _runs_before(settings, origin, console):
        learnt |= {row.sha256 for row in read_manifest(run.folder) if row.part != "test"}
    return np.array([row.sha256 not in learnt for row in read_manifest(now) if row.part == "test"])


def _runs_before(settings: RunSettings, origin: Origin, console: Console) -> Iterator[Origin]:
    """The run that was gone on from, the one that this had gone on from, and so on."""
    yield origin
    while model := read_values(origin.folder / SETTINGS_FILE, type(settings)).get("from_model"):
        try:
            origin = find_origin(Path(model), settings.runs)
        except (TrainingError, ZooError) as exc:
            say(console, f"items that {origin.label} had learnt from before its own run are not known: {exc}", "yellow")
            return
        yield origin


def _widened(run: Run, before: Sequence[str], now: Sequence[str]) -> Run:
    """A classifier that never names the classes that it does not know."""
    places = [now.index(label) for label in before]

    def widened(inputs: Tensors) -> Tensors:
        logits = run(inputs)[LOGITS]
        wide = np.full((len(logits), len(now)), _NEVER, np.float32)
        wide[:, places] = logits
        return {LOGITS: wide}

    return widened


def _labels(card: Card) -> tuple[str, ...]:
    assert not isinstance(card.task, SeriesTask), "forecasters have no labels. This is a bug."
    return card.task.labels
