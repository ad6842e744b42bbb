"""What the card of an ensemble says, beside those of its models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation.forecasts import shortened
from training.evaluation.intervals import conformal_half_widths
from training.export.provenance import now, software_versions
from training.hashing import file_sha256
from training.pipelines.published.evaluate import Published
from training.pipelines.published.examples import Measured
from zoo.card import UNKNOWN_TOKEN_RATE, Card, ColumnStatistics, Golden, Provenance, SeriesTask, Task, TextTask
from zoo.golden import Run, golden_inputs, output_name


def joint_reference(card: Card, unknown: NDArray[np.float64]) -> dict[str, ColumnStatistics]:
    """Of the inputs, which are the same for all models; but each text model has tokens of its own."""
    if not isinstance(card.task, TextTask):
        return card.reference
    return {UNKNOWN_TOKEN_RATE: ColumnStatistics.of(unknown)} if len(unknown) else {}


def joint_task(models: Sequence[Published], held_out: Measured) -> Task:
    """That of the first model, with prediction intervals from the errors on the validation part."""
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


def joint_metrics(models: Sequence[Published], measured: Measured) -> dict[str, float]:
    """Of the ensemble, and the simple answers that stand in all cards, since the test part is the same."""
    if measured.report:
        own = measured.report.metrics()
    else:
        own = {name: shortened(estimate.value) for name, estimate in measured.estimates.items()}
        own = {"test_windows": float(len(measured.outputs))} | own
    first, *others = [model.card.test_metrics for model in models]
    shared = {
        name: value
        for name, value in first.items()
        if name not in own and all(metrics.get(name) == value for metrics in others)
    }
    return own | shared


def joint_provenance(models: Sequence[Published], weights: Sequence[float]) -> Provenance:
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


def joint_golden(models: Sequence[Published], expected: Run) -> Golden:
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
