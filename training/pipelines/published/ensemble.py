"""Several published models of one task as one: the means of their answers, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from training.errors import DataError, GateError
from training.evaluation.estimates import Estimate, forecast_estimates
from training.evaluation.intervals import conformal_half_widths
from training.evaluation.weights import fit_class_weights, fit_forecast_weights
from training.export.gate import BATCH_SIZES, check_batch_independence, check_metric, check_parity, publish_checked
from training.export.joined import join_graphs, mean_run
from training.export.provenance import now, software_versions
from training.hashing import file_sha256
from training.pipelines.published.evaluate import Published, compare, open_published
from training.pipelines.published.examples import Examples, Measured, Part, read_examples, target_std
from training.pipelines.published.together import check_together
from training.runs import count_test_use, describe_uses
from training.settings import EnsembleSettings
from zoo.card import (
    UNKNOWN_TOKEN_RATE,
    Card,
    ColumnStatistics,
    Golden,
    Provenance,
    SeriesTask,
    Task,
    TextTask,
)
from zoo.golden import Run, Tensors, golden_inputs, output_name
from zoo.repository import ModelVersion, check_name
from zoo.runtime import make_run, open_session


@dataclass(frozen=True)
class Member:
    """A model of an ensemble, on the test part."""

    published: Published
    weight: float
    measured: Measured
    better_by: Estimate
    """By how much the ensemble is better than it, see `compare`."""
    p_value: float | None


@dataclass(frozen=True)
class Ensemble:
    """What was published, beside what it is made of."""

    published: ModelVersion
    card: Card
    measured: Measured
    """Of the published graph, on the test part."""
    members: tuple[Member, ...]
    parity: float
    """Largest relative error between the graph and the mean of the models by themselves."""
    what: str
    """The test part, for people."""


def ensemble(settings: EnsembleSettings, console: Console | None = None) -> Ensemble:
    """Join, weigh, measure on the test part, gate and publish.

    Raises:
        SettingsError: the models do not go together; the text names what differs.
        DataError: the data are not those that they were trained on.
        GateError: the graph does not give the mean of the models, or a model by itself is best.
        ZooError: a file is no model, or the name cannot name one.
    """
    console = console or Console(stderr=True)
    check_name(settings.name)
    models = [open_published(path) for path in settings.model]
    for other in models[1:]:
        check_together(models[0], other)
    card = models[0].card
    validation, test = (_read(settings, card, part, console) for part in ("validation", "test"))
    weights = _choose_weights(settings, models, validation, console)
    chosen = [(model, weight) for model, weight in zip(models, weights, strict=True) if weight > 0]
    models, weights = [model for model, _ in chosen], [weight for _, weight in chosen]
    console.print(f"joining, and measuring on {test.what}", highlight=False, markup=False, soft_wrap=True)
    split = card.provenance.split
    uses = count_test_use(settings.runs, test.sha256, split, "ensemble of " + ", ".join(m.label for m in models))
    console.print(describe_uses(uses), style="dim", highlight=False, soft_wrap=True)
    graphs = [model.path.read_bytes() for model in models]
    runs = [make_run(open_session(graph)) for graph in graphs]
    outputs = _outputs(card.task, runs, test.sample)
    joined = join_graphs(graphs, weights, outputs)
    expected, run = mean_run(runs, weights, outputs), make_run(open_session(joined))
    batches = [_batch(test.sample, size) for size in BATCH_SIZES]
    parity = check_parity(expected, run, batches)
    check_batch_independence(run, batches)
    singles = [test.measure(member) for member in runs]
    held_out, seen = _validate(run, validation)
    task = _task(models, held_out)
    measured = _with_intervals(test.measure(run), task, card)
    name = measured.headline
    check_metric(name, test.measure(expected).estimates[name].value, measured.estimates[name].value)
    card = Card(
        name=settings.name,
        description=settings.description or "mean of " + ", ".join(model.label for model in models),
        task=task,
        licence=settings.licence or "; ".join(dict.fromkeys(model.card.licence for model in models)),
        provenance=_provenance(models, weights).model_copy(update={"test_uses": uses}),
        test_metrics=_metrics(models, measured),
        reference=_reference(card, seen),
        class_shares=card.class_shares,
        golden=_golden(models, expected),
    )
    published = publish_checked(joined, card, settings.output, settings.name, settings.version)
    members = tuple(
        Member(model, weight, single, *compare(measured, single, card))
        for model, weight, single in zip(models, weights, singles, strict=True)
    )
    return Ensemble(published, card, measured, members, parity, test.what)


def _read(settings: EnsembleSettings, card: Card, part: Part, console: Console) -> Examples:
    examples = read_examples(
        card,
        settings.data,
        part,
        console,
        batch_size=settings.batch_size,
        validation_file=settings.validation_file,
    )
    if examples.sha256 != card.provenance.data_sha256:
        raise DataError(
            f"these are not the data that {card.name!r} was trained on: sha256 {examples.sha256[:12]}, the card has "
            f"{card.provenance.data_sha256[:12]}; their test part would not be what training left out"
        )
    return examples


def _choose_weights(
    settings: EnsembleSettings, models: Sequence[Published], validation: Examples, console: Console
) -> list[float]:
    """They sum to 1; a model that does not help has 0."""
    if not settings.fit_weights:
        given = settings.weight or [1.0] * len(models)
        return [weight / sum(given) for weight in given]
    console.print(f"finding weights on {validation.what}", highlight=False, markup=False, soft_wrap=True)
    measured = [validation.measure(make_run(open_session(model.path))) for model in models]
    weights = _fit(measured, models[0].card)
    shown = ", ".join(f"{model.label} {weight:.4g}" for model, weight in zip(models, weights, strict=True))
    console.print(f"weights: {shown}", highlight=False, markup=False, soft_wrap=True)
    if max(weights) == 1:
        raise GateError(
            f"{models[int(np.argmax(weights))].label} by itself is best on the validation part; nothing was published"
        )
    return [float(weight) for weight in weights]


def _fit(measured: Sequence[Measured], card: Card) -> NDArray[np.float64]:
    reports = [one.report for one in measured if one.report]
    if reports:
        rows = np.arange(len(reports[0].targets))
        return fit_class_weights(
            np.stack([report.probabilities[rows, report.targets] for report in reports]).astype(np.float64)
        )
    std = target_std(card)
    return fit_forecast_weights(np.stack([(one.outputs / std).ravel() for one in measured]).astype(np.float64))


def _outputs(task: Task, runs: Sequence[Run], sample: Tensors) -> list[str]:
    """What can be averaged: the answer, and what else all models give that is a number of each item."""
    given = [run(sample) for run in runs]
    more = [UNKNOWN_TOKEN_RATE] if all(UNKNOWN_TOKEN_RATE in outputs for outputs in given) else []
    return [output_name(task), *more]


def _batch(sample: Tensors, size: int) -> Tensors:
    return {name: value[np.arange(size) % len(value)] for name, value in sample.items()}


def _validate(run: Run, validation: Examples) -> tuple[Measured, NDArray[np.float64]]:
    """The ensemble on the validation part, and how much of each text it could not read there."""
    rates: list[NDArray[np.generic]] = []

    def observed(inputs: Tensors) -> Tensors:
        outputs = run(inputs)
        rates.append(outputs.get(UNKNOWN_TOKEN_RATE, np.zeros(0)))
        return outputs

    measured = validation.measure(observed)
    return measured, np.concatenate(rates).astype(np.float64)


def _reference(card: Card, unknown: NDArray[np.float64]) -> dict[str, ColumnStatistics]:
    """Of the inputs, which are the same for all models; but each text model has tokens of its own."""
    if not isinstance(card.task, TextTask):
        return card.reference
    return {UNKNOWN_TOKEN_RATE: ColumnStatistics.of(unknown)} if len(unknown) else {}


def _task(models: Sequence[Published], held_out: Measured) -> Task:
    task = models[0].card.task
    if isinstance(task, TextTask):
        longest = max(model.card.task.max_tokens for model in models if isinstance(model.card.task, TextTask))
        return task.model_copy(update={"max_tokens": longest})
    if not isinstance(task, SeriesTask) or task.interval is None:
        return task
    widths = conformal_half_widths(held_out.outputs, task.interval.coverage)
    if widths is None:
        return task.model_copy(update={"interval": None})
    rows = tuple(tuple(float(f"{value:.6g}") for value in row) for row in widths)
    return task.model_copy(update={"interval": task.interval.model_copy(update={"half_widths": rows})})


def _with_intervals(measured: Measured, task: Task, card: Card) -> Measured:
    """The coverage of the ensemble's own prediction intervals."""
    if not isinstance(task, SeriesTask):
        return measured
    names = [target.name for target in task.targets]
    widths = np.array(task.interval.half_widths) if task.interval else None
    return replace(measured, estimates=forecast_estimates(measured.outputs, names, list(target_std(card)), widths))


def _metrics(models: Sequence[Published], measured: Measured) -> dict[str, float]:
    """Of the ensemble, and the simple answers that stand in all cards, since the test part is the same."""
    if measured.report:
        own = measured.report.metrics()
    else:
        own = {name: round(estimate.value, 5) for name, estimate in measured.estimates.items()}
        own = {"test_windows": float(len(measured.outputs))} | own
    first, *others = [model.card.test_metrics for model in models]
    shared = {
        name: value
        for name, value in first.items()
        if name not in own and all(metrics.get(name) == value for metrics in others)
    }
    return own | shared


def _provenance(models: Sequence[Published], weights: Sequence[float]) -> Provenance:
    """That of the first model, with the settings that all have in common, by which their split can be found again."""
    first, *others = [model.card.provenance for model in models]
    settings = {
        name: value
        for name, value in first.settings.items()
        if all(name in other.settings and other.settings[name] == value for other in others)
    }
    if not isinstance(models[0].card.task, SeriesTask):
        given = first.settings.get("split_seed")
        settings["split_seed"] = first.seed if given is None else given
    members = [
        f"{weight:.4g} x {model.label} (sha256 {file_sha256(model.path)[:12]})"
        for model, weight in zip(models, weights, strict=True)
    ]
    return first.model_copy(
        update={
            "created": now(),
            "recipe": "python -m training ensemble",
            "run": "",
            "weights_source": " + ".join(members),
            "versions": software_versions(),
            "settings": settings,
        }
    )


def _golden(models: Sequence[Published], expected: Run) -> Golden:
    """The samples of the first model, with the answers that all give together."""
    golden, task = models[0].card.golden, models[0].card.task
    if not golden.samples:
        return golden
    answers = expected(golden_inputs(models[0].card))[output_name(task)]
    samples = tuple(
        sample.model_copy(update={"expected": tuple(float(value) for value in np.ravel(answer))})
        for sample, answer in zip(golden.samples, answers, strict=True)
    )
    tolerances = [model.card.golden for model in models]
    return Golden(samples=samples, atol=max(one.atol for one in tolerances), rtol=max(one.rtol for one in tolerances))
