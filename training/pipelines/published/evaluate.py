"""A published model, measured through ONNX Runtime, and through a running server beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from training.errors import SettingsError
from training.evaluation.estimates import Estimate, block_length, difference_estimate
from training.evaluation.significance import paired_difference
from training.pipelines.published.examples import Columns, Examples, Measured, read_examples
from training.pipelines.published.limits import Check, check_limits, read_limits
from training.pipelines.published.of_card import split_of, target_std
from training.pipelines.published.served import Remote, ask_server
from training.runs import count_test_use, describe_uses
from training.saying import say
from training.settings import EvaluateSettings
from zoo.card import Card, SeriesTask
from zoo.package import read_card
from zoo.repository import find_model
from zoo.runtime import make_run, open_session

_TIMED_RUNS, _TIMED_SECONDS = 100, 3.0
"""As many as there is time for."""


@dataclass(frozen=True)
class Published:
    """A model file and what it says about itself."""

    path: Path
    card: Card

    @property
    def name(self) -> str:
        """Of the folder that it lies in."""
        return self.path.parents[1].name

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name} {self.path.parent.name}"

    @property
    def version(self) -> int:
        """Of the folder that it lies in; 0: it is no number."""
        folder = self.path.parent.name
        return int(folder) if folder.isdecimal() else 0


class Cost(NamedTuple):
    """What a model takes."""

    latency_ms: float
    """Median time of a single item, one thread, on this machine."""
    latency_p95_ms: float
    size_mb: float


@dataclass(frozen=True)
class Other:
    """Another model on the same items."""

    published: Published
    measured: Measured
    better_by: Estimate
    """By how much the model is better: of accuracies their difference, of errors (scaled MAE) what they are less."""
    p_value: float | None
    """Of classifiers, by McNemar's exact test."""
    cost: Cost


@dataclass(frozen=True)
class Evaluation:
    """How a published model does."""

    published: Published
    examples: Examples
    measured: Measured
    cost: Cost
    remote: Remote | None = None
    other: Other | None = None
    checks: tuple[Check, ...] = ()
    """Of the limits that were given."""


def evaluate(settings: EvaluateSettings, console: Console | None = None) -> Evaluation:
    """Measure, and compare with a server and with another model where the settings want that.

    Raises:
        TrainingError: the data, the models and the settings do not go together, or the server does not answer.
        ZooError: a file is no model, or the data cannot be read.
    """
    console = console or Console(stderr=True)
    published = open_published(settings.model)
    if settings.server and published.card.state:
        raise SettingsError(
            f"{published.card.name!r} keeps state from step to step, which a server keeps for each stream; "
            "leave out --server"
        )
    limits = read_limits(settings.gate) if settings.gate else None
    against = settings.against or (limits and limits.against)
    rival = _open_rival(against, published.card) if against else None  # before a look at the test part is counted
    examples = _read(settings, published.card, console)
    say(console, f"measuring on {examples.what}")
    if examples.uses_test:
        uses = count_test_use(settings.runs, examples.sha256, examples.what, f"evaluate {published.label}")
        say(console, describe_uses(uses), "dim")
    run = make_run(open_session(published.path))
    measured = examples.measure(run)
    name = settings.server_name or published.name
    remote = ask_server(settings, name, published.version, examples, measured) if settings.server else None
    other = _measure_other(settings, rival, published.card, measured, console) if rival else None
    cost = _cost(published, examples)
    checks: list[Check] = []
    if limits:
        figures = _figures(measured, cost) | _remote_figures(remote)
        checks = check_limits(limits, figures, _figures(other.measured, other.cost) if other else None)
    return Evaluation(published, examples, measured, cost, remote, other, tuple(checks))


def open_published(path: Path) -> Published:
    """Find a model and read its card.

    Raises:
        SettingsError: it has none.
        ZooError: there is no model.
    """
    file = find_model(path).resolve()
    card = read_card(file)
    if card is None:
        raise SettingsError(f"{path} has no card, which says what goes in and out")
    return Published(file, card)


def _read(settings: EvaluateSettings, card: Card, console: Console, origin: Card | None = None) -> Examples:
    read = read_examples(
        card,
        settings.data,
        console,
        batch_size=settings.batch_size,
        columns=Columns(settings.text_column, settings.label_column, settings.time_column, settings.time_format),
        validation_file=settings.validation_file,
        skip_broken=settings.skip_broken,
        origin=origin,
    )
    return read(settings.part)


def _open_rival(against: Path, this: Card) -> Published:
    """The model to compare with.

    Raises:
        SettingsError: it answers another question.
    """
    rival = open_published(against)
    if rival.card.task.kind != this.task.kind:
        raise SettingsError(f"the other model, {against}, is for {rival.card.task.kind}, not for {this.task.kind}")
    _check_comparable(this, rival.card)
    return rival


def _measure_other(
    settings: EvaluateSettings, other: Published, this: Card, measured: Measured, console: Console
) -> Other:
    """The same items, as another model takes them."""
    if other.card.provenance.data_sha256 == this.provenance.data_sha256 and split_of(other.card) != split_of(this):
        console.print(
            f"{other.card.name} was trained on another split of these data: it may have learnt some of these items",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    examples = _read(settings, other.card, console, origin=this)
    found = examples.measure(make_run(open_session(other.path)))
    return Other(other, found, *compare(measured, found, this), _cost(other, examples))


def compare(measured: Measured, other: Measured, card: Card) -> tuple[Estimate, float | None]:
    """By how much the first is better on the same items, and of classifiers the p value of McNemar's test."""
    if measured.report and other.report:
        difference = paired_difference(measured.report.correct, other.report.correct)
        return Estimate(difference.mean, difference.interval), difference.p_value
    mine, others = (np.abs(found.outputs / target_std(card)).mean((1, 2)) for found in (measured, other))
    return difference_estimate(others - mine, block_length(measured.outputs)), None


def _check_comparable(this: Card, other: Card) -> None:
    """Forecasts can be compared where they are of the same values."""
    if isinstance(this.task, SeriesTask) and isinstance(other.task, SeriesTask):
        for what, mine, others in (
            ("targets", [target.name for target in this.task.targets], [target.name for target in other.task.targets]),
            ("horizon", this.task.horizon_steps, other.task.horizon_steps),
            ("step in seconds", this.task.step_seconds, other.task.step_seconds),
        ):
            if mine != others:
                raise SettingsError(f"{other.name!r} forecasts others: its {what} are {others}, not {mine}")


def _figures(measured: Measured, cost: Cost) -> dict[str, float]:
    return {name: estimate.value for name, estimate in measured.estimates.items()} | cost._asdict()


def _remote_figures(remote: Remote | None) -> dict[str, float]:
    if remote is None:
        return {}
    return {"server_difference": remote.largest_difference, "server_other_answers": float(remote.other_answers)}


def _cost(published: Published, examples: Examples) -> Cost:
    """Of single items; the first run does not count."""
    run = make_run(open_session(published.path, threads=1))
    one = {name: value[:1] for name, value in examples.sample.items()}
    run(one)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < _TIMED_RUNS and time.perf_counter() - began < _TIMED_SECONDS:
        start = time.perf_counter()
        run(one)
        times.append(1000 * (time.perf_counter() - start))
    size = published.path.stat().st_size / 1e6
    return Cost(float(np.median(times)), float(np.quantile(times, 0.95)), size)
