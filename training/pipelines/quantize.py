"""From a published float32 model to a smaller one beside it, if it is as good."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from training.errors import GateError, SettingsError
from training.evaluation.calibration import describe_calibration
from training.export.dynamic import quantize_text_int8
from training.export.gate import BATCH_SIZES, check_batch_independence, publish_checked
from training.export.half import TOLERANCE_FACTOR, check_range, to_float16
from training.export.quantize import LEAST_TOLERANCE, probability_gap, speedup
from training.files import check_repository
from training.pipelines.duplicates import ACCURACY_WITHOUT_DUPLICATES
from training.pipelines.image.export import Candidate, ImageData, try_int8
from training.pipelines.measured import HeldOut, Score, read_held_out
from training.runs import count_test_use, describe_uses
from training.saying import say
from training.settings import QuantizeSettings
from zoo.card import Card, SeriesTask
from zoo.golden import Run, Tensors
from zoo.package import read_card
from zoo.repository import ModelVersion, check_name, find_model
from zoo.runtime import make_run, open_session


@dataclass(frozen=True)
class Quantized:
    """What was published, and what it lost."""

    published: ModelVersion
    card: Card
    before: Score
    after: Score


def quantize(settings: QuantizeSettings, console: Console | None = None) -> Quantized:
    """Convert, compare on the test part, and publish as the next version.

    Raises:
        GateError: more is lost than `max_drop`, a value does not fit, or int8 is not faster here; nothing is published.
        TrainingError: the data are others, or the model cannot be measured.
        ZooError: the file is no model with a card.
    """
    console = console or Console(stderr=True)
    path = find_model(settings.model).resolve()
    card = read_card(path)
    if card is None:
        raise SettingsError(f"{settings.model} has no card, which says on what data to measure it")
    if settings.int8 and isinstance(card.task, SeriesTask):
        raise SettingsError(
            "--int8 is for images and texts: of a forecaster all rows of a batch would share one scale, so that a "
            "reading far from the others spoils its neighbours' forecasts; take --fp16 for a GPU"
        )
    model = path.parent.parent
    repository, name = settings.output or model.parent, check_name(settings.name or model.name)
    check_repository(repository, name, settings.version)
    part = read_held_out(card, settings.data, console)
    split, version = card.provenance.split, f"{model.name} {path.parent.name}"
    uses = count_test_use(settings.runs, part.data_sha256, split, f"quantize {version}")
    say(console, describe_uses(uses), "dim")
    console.print("converting and measuring")
    onnx_bytes = path.read_bytes()
    run = make_run(open_session(path))
    before = part.score(run)
    if settings.fp16:
        small, card = _half(onnx_bytes, before, card, part, settings.max_drop)
    elif part.images:
        small, card = _static_int8(onnx_bytes, run, card, part.images, settings.max_drop)
    else:
        small, card = _dynamic_int8(onnx_bytes, before, card, part, settings.max_drop)
    after = part.score(make_run(open_session(small)))
    card = _measured_anew(card, after, uses)
    published = publish_checked(small, card, repository, name, settings.version)
    return Quantized(published, card, before, after)


def _half(onnx_bytes: bytes, before: Score, card: Card, part: HeldOut, max_drop: float) -> tuple[bytes, Card]:
    """Half precision, with golden samples that allow for it.

    A CPU cannot measure its speed; it is for a GPU, and the card says so.
    """
    largest = check_range(onnx_bytes, part.sample)
    small = to_float16(onnx_bytes)
    half = make_run(open_session(small))
    check_batch_independence(half, _batches(part.sample), limit=1e-3)
    after = part.score(half)
    _check_drop(before, after, max_drop)
    tried: dict[str, dict[str, float | str]] = {
        "float32": {**_measured(onnx_bytes, before), "kept": "in an earlier version, for a CPU"},
        "float16": {
            **_measured(small, after),
            "largest_value": round(largest, 5),
            "kept": "yes, for a GPU; its speed there was not measured",
        },
    }
    golden = card.golden.model_copy(
        update={"atol": TOLERANCE_FACTOR * card.golden.atol, "rtol": TOLERANCE_FACTOR * card.golden.rtol}
    )
    return small, card.model_copy(update={"golden": golden, "tried": card.tried | tried})


def _static_int8(onnx_bytes: bytes, run: Run, card: Card, data: ImageData, max_drop: float) -> tuple[bytes, Card]:
    """int8, with golden samples that allow for what it differs by on the validation part."""
    validation, test = data.report(run, data.split.validation), data.report(run, data.split.test)
    float_graph = Candidate(onnx_bytes, run, validation, test, card.golden.atol, card.golden.rtol)
    chosen, tried = try_int8(float_graph, run, data, budget=max_drop)
    if chosen is float_graph:
        raise GateError(f"int8 is not worth it: {str(tried['int8']['kept']).removeprefix('no: ')}")
    golden = card.golden.model_copy(update={"atol": chosen.golden_atol, "rtol": chosen.golden_rtol})
    return chosen.onnx_bytes, card.model_copy(update={"golden": golden, "tried": card.tried | tried})


def _dynamic_int8(onnx_bytes: bytes, before: Score, card: Card, part: HeldOut, max_drop: float) -> tuple[bytes, Card]:
    """int8 of a text classifier, with golden samples that allow for twice what it differs by on the test part."""
    small = quantize_text_int8(onnx_bytes)
    after = part.score(make_run(open_session(small)))
    _check_drop(before, after, max_drop)
    faster = speedup(onnx_bytes, small, part.sample)
    if faster <= 1:
        raise GateError(
            f"int8 is not worth it: its speed is {faster:.2f} times that of float32; of recurrent layers only LSTM has "
            "kernels for it"
        )
    assert before.report, "texts are classified. This is a bug."
    assert after.report, "texts are classified. This is a bug."
    gap = probability_gap(before.report.probabilities, after.report.probabilities, quantile=1.0)
    # The scale of an activation is that of its batch: alone, or in other company, an answer is a little different.
    tolerance = 2 * max(round(gap, 4), LEAST_TOLERANCE)
    tried: dict[str, dict[str, float | str]] = {
        "float32": {**_measured(onnx_bytes, before), "speedup": 1.0, "kept": "in an earlier version"},
        "int8": {
            **_measured(small, after),
            "speedup": round(faster, 2),
            "golden_atol": tolerance,
            "kept": "yes",
        },
    }
    golden = card.golden.model_copy(update={"atol": tolerance, "rtol": 0.0})
    return small, card.model_copy(update={"golden": golden, "tried": card.tried | tried})


def _check_drop(before: Score, after: Score, max_drop: float) -> None:
    drop = after.drop_from(before)
    if not drop <= max_drop + 1e-6:
        raise GateError(
            f"{after.headline} on the test part goes from {before.value:g} to {after.value:g}, "
            f"a loss of {drop:.4f}; --max-drop allows {max_drop:g}"
        )


def _measured_anew(card: Card, after: Score, uses: int) -> Card:
    """The card with what the published graph does on the test part."""
    before = {name: value for name, value in card.test_metrics.items() if name != ACCURACY_WITHOUT_DUPLICATES}
    changes: dict[str, object] = {
        "test_metrics": before | after.metrics,
        "provenance": card.provenance.model_copy(update={"test_uses": uses}),
    }
    if card.calibration and after.report:
        changes["calibration"] = describe_calibration(card.calibration.temperature, after.report)
    return card.model_copy(update=changes)


def _batches(sample: Tensors) -> list[Tensors]:
    return [{name: value[:size] for name, value in sample.items()} for size in BATCH_SIZES]


def _measured(onnx_bytes: bytes, score: Score) -> dict[str, float | str]:
    return {score.headline: score.value, "megabytes": round(len(onnx_bytes) / 1e6, 2)}
