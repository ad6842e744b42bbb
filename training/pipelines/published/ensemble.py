"""Several published models of one task as one: the means of their answers, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from training.errors import GateError, SettingsError
from training.evaluation.estimates import Estimate, forecast_estimates
from training.evaluation.weights import fit_class_weights, fit_forecast_weights
from training.export.gate import BATCH_SIZES, check_batch_independence, check_metric, check_parity, publish_checked
from training.export.joined import join_graphs, mean_run
from training.files import check_repository
from training.pipelines.published.evaluate import Published, compare, open_published
from training.pipelines.published.examples import Examples, Measured, read_examples
from training.pipelines.published.joint_card import (
    joint_golden,
    joint_metrics,
    joint_provenance,
    joint_reference,
    joint_task,
)
from training.pipelines.published.of_card import check_same_data, target_std
from training.pipelines.published.together import check_together
from training.runs import count_test_use, describe_uses
from training.saying import say
from training.settings import EnsembleSettings
from zoo.card import CLASS_ACTIVATION, LOGITS, UNKNOWN_TOKEN_RATE, Card, SeriesTask, Task
from zoo.golden import Run, Tensors, output_name
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


@dataclass(frozen=True)
class _Joined:
    """A graph that passed the gate."""

    onnx_bytes: bytes
    run: Run
    members: Sequence[Run]
    """The models by themselves."""
    expected: Run
    """The mean of these."""
    parity: float


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
    check_repository(settings.output, settings.name, settings.version)
    models = [open_published(path) for path in settings.model]
    for place, other in enumerate(models[1:], 1):
        if other.path in {model.path for model in models[:place]}:
            raise SettingsError(f"--model {other.path} is given twice; say how much it counts with --weight")
        check_together(models[0], other)
    card = models[0].card
    examples = read_examples(
        card, settings.data, console, batch_size=settings.batch_size, validation_file=settings.validation_file
    )
    validation, test = examples("validation"), examples("test")
    check_same_data(card, test.trained_on, test.sha256)
    weights = _choose_weights(settings, models, validation, console)
    chosen = [(model, weight) for model, weight in zip(models, weights, strict=True) if weight > 0]
    models, weights = [model for model, _ in chosen], [weight for _, weight in chosen]
    say(console, f"joining, and measuring on {test.what}")
    split = card.provenance.split
    uses = count_test_use(settings.runs, test.sha256, split, "ensemble of " + ", ".join(m.label for m in models))
    say(console, describe_uses(uses), "dim")
    joined = _join(models, weights, test.sample, console)
    singles = [test.measure(member) for member in joined.members]
    held_out, seen = _validate(joined.run, validation)
    task = joint_task(models, held_out)
    measured = _with_intervals(test.measure(joined.run), task, card)
    name = measured.headline
    check_metric(name, test.measure(joined.expected).estimates[name].value, measured.estimates[name].value)
    card = Card(
        name=settings.name,
        description=settings.description or "mean of " + ", ".join(model.label for model in models),
        task=task,
        licence=settings.licence or "; ".join(dict.fromkeys(model.card.licence for model in models)),
        provenance=joint_provenance(models, weights).model_copy(update={"test_uses": uses}),
        test_metrics=joint_metrics(models, measured),
        reference=joint_reference(card, seen),
        class_shares=card.class_shares,
        golden=joint_golden(models, joined.expected),
    )
    published = publish_checked(joined.onnx_bytes, card, settings.output, settings.name, settings.version)
    members = tuple(
        Member(model, weight, single, *compare(measured, single, card))
        for model, weight, single in zip(models, weights, singles, strict=True)
    )
    return Ensemble(published, card, measured, members, joined.parity, test.what)


def _choose_weights(
    settings: EnsembleSettings, models: Sequence[Published], validation: Examples, console: Console
) -> list[float]:
    """They sum to 1; a model that does not help has 0."""
    if not settings.fit_weights:
        given = settings.weight or [1.0] * len(models)
        return [weight / sum(given) for weight in given]
    say(console, f"finding weights on {validation.what}")
    measured = [validation.measure(make_run(open_session(model.path))) for model in models]
    weights = _fit(measured, models[0].card)
    shown = ", ".join(f"{model.label} {weight:.4g}" for model, weight in zip(models, weights, strict=True))
    say(console, f"weights: {shown}")
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


def _join(models: Sequence[Published], weights: Sequence[float], sample: Tensors, console: Console) -> _Joined:
    """The joined graph, through the gate."""
    graphs = [model.path.read_bytes() for model in models]
    members = [make_run(open_session(graph)) for graph in graphs]
    outputs = _outputs(models, [member(sample) for member in members], console)
    onnx_bytes = join_graphs(graphs, weights, outputs)
    expected, run = mean_run(members, weights, outputs), make_run(open_session(onnx_bytes))
    batches = [_batch(sample, size) for size in BATCH_SIZES]
    check_batch_independence(run, batches)
    return _Joined(onnx_bytes, run, members, expected, check_parity(expected, run, batches))


def _outputs(models: Sequence[Published], given: Sequence[Tensors], console: Console) -> list[str]:
    """What the ensemble gives: the answer, and what else can be averaged; the rest is told by name."""
    answer = output_name(models[0].card.task)
    chosen = [answer]
    for name in dict.fromkeys(name for outputs in given for name in outputs if name not in (answer, LOGITS)):
        if reason := _reason_against(name, models, given):
            said = f"the ensemble has no output {name}: {reason}"
            say(console, said, "yellow")
        else:
            chosen.append(name)
    return chosen


def _reason_against(name: str, models: Sequence[Published], given: Sequence[Tensors]) -> str:
    """Why an output cannot be averaged; empty: it can."""
    if lacking := [model.label for model, outputs in zip(models, given, strict=True) if name not in outputs]:
        return f"{', '.join(lacking)} did not publish it"
    if len(sizes := {outputs[name].shape[1:] for outputs in given}) > 1:
        return f"its sizes differ, {' and '.join(' x '.join(map(str, size)) for size in sorted(sizes))}"
    return "" if name in (CLASS_ACTIVATION, UNKNOWN_TOKEN_RATE) else "nothing says how it is averaged"


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


def _with_intervals(measured: Measured, task: Task, card: Card) -> Measured:
    """The coverage of the ensemble's own prediction intervals."""
    if not isinstance(task, SeriesTask):
        return measured
    names = [target.name for target in task.targets]
    widths = np.array(task.interval.half_widths) if task.interval else None
    return replace(measured, estimates=forecast_estimates(measured.outputs, names, list(target_std(card)), widths))
