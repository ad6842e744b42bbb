"""From a folder of images to a published classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning.pytorch import seed_everything
from rich.console import Console

from training.data.images import (
    EvaluationImages,
    LabelledImages,
    TrainingImages,
    channel_statistics,
    list_images,
    read_image_folder,
    split_images,
)
from training.data.split import Split
from training.errors import SettingsError
from training.evaluate import ClassificationReport, classification_report
from training.export.gate import (
    BATCH_SIZES,
    check_batch_independence,
    check_metric,
    check_parity,
    publish_checked,
)
from training.export.golden import FLOAT_TOLERANCE, choose_samples, encode_small, make_golden
from training.export.image import export_image_classifier, gate_batches, torch_run
from training.export.provenance import describe_run
from training.export.quantize import probability_gap, quantize_int8, speedup
from training.fit import FitResult, make_run_folder
from training.models.backbones import Backbone, make_backbone
from training.models.image import ImageClassifier
from training.models.weights import LoadReport, load_weights
from training.settings import ImageSettings
from training.transfer import fit_head, fit_network
from zoo.card import IMAGE_INPUT, PROBABILITIES, Card, ImageTask, Resize
from zoo.golden import Run
from zoo.image import decode_image
from zoo.repository import ModelVersion, check_name
from zoo.runtime import make_run, open_session

QUANTISATION_BUDGET = 0.005
"""Accuracy that int8 may lose."""
_CALIBRATION_IMAGES = 500
_EVALUATION_BATCH = 32


@dataclass(frozen=True)
class ImageOutcome:
    """What a run gave."""

    published: ModelVersion
    card: Card
    fit: FitResult
    test: ClassificationReport
    """Of the published graph, through ONNX Runtime."""
    parity: float
    """Largest relative error between torch and ONNX Runtime, float32."""
    run_folder: Path


@dataclass(frozen=True)
class _Candidate:
    """A graph that may be published."""

    onnx_bytes: bytes
    run: Run
    validation: ClassificationReport
    test: ClassificationReport
    golden_atol: float
    golden_rtol: float


@dataclass(frozen=True)
class _Data:
    """The images and their parts."""

    images: LabelledImages
    split: Split
    resize: Resize

    def part(self, indexes: tuple[int, ...]) -> EvaluationImages:
        return EvaluationImages(self.images, indexes, self.resize)

    def report(self, run: Run, indexes: tuple[int, ...]) -> ClassificationReport:
        return classification_report(run, self.part(indexes).batches(_EVALUATION_BATCH))


def train_image(
    settings: ImageSettings,
    *,
    recipe: str = "python -m training image",
    data_name: str = "",
    console: Console | None = None,
) -> ImageOutcome:
    """Train, evaluate, export, gate and publish.

    Args:
        settings: of the run.
        recipe: what the card names as its maker.
        data_name: what the card calls the data; default: the name of their folder.
        console: for progress; default: standard error.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a model, or the graph fails its golden samples.
    """
    console = console or Console(stderr=True)
    check_name(settings.name)
    seed_everything(settings.seed, workers=True, verbose=False)
    _, classes = list_images(settings.data)
    backbone, load_report = _prepare_backbone(settings, len(classes), console)
    data = _read(settings, backbone, console)
    classifier = ImageClassifier(backbone)
    run_folder = make_run_folder(settings.runs, settings.name)
    result = _train(classifier, backbone, data, settings, run_folder, console)
    console.print("evaluating and exporting")
    float_graph, parity = _export(classifier, data)
    chosen, tried = float_graph, dict[str, dict[str, float | str]]()
    if settings.quantize == "int8":
        chosen, tried = _try_int8(float_graph, torch_run(classifier), data)
    card = Card(
        name=settings.name,
        description=settings.description or f"{len(classes)} classes of images, {backbone.name}, {settings.mode}",
        task=ImageTask(labels=classes, resize=data.resize),
        licence=settings.licence,
        provenance=describe_run(
            settings,
            recipe=recipe,
            data=data_name or settings.data.resolve().name,
            data_sha256=data.images.sha256,
            split=data.split.description,
            weights_source=load_report.source if load_report else "",
        ),
        test_metrics=chosen.test.metrics(),
        tried=tried,
        reference=channel_statistics(data.images, data.split.train),
    )
    card = _with_golden(card, classifier, chosen, data)
    published = publish_checked(chosen.onnx_bytes, card, settings.output, settings.name, settings.version)
    return ImageOutcome(published, card, result, chosen.test, parity, run_folder)


def _prepare_backbone(settings: ImageSettings, classes: int, console: Console) -> tuple[Backbone, LoadReport | None]:
    if settings.weights == "none":
        if settings.mode == "freeze":
            raise SettingsError(
                "--mode freeze trains only the head, so the backbone needs --weights pretrained or FILE"
            )
        return make_backbone(settings.backbone, classes, scratch=True), None
    if settings.mode == "scratch":
        raise SettingsError("--mode scratch starts from random weights; pass --weights none, or --mode finetune")
    file = None if settings.weights == "pretrained" else Path(settings.weights)
    backbone = make_backbone(settings.backbone, classes, weights_file=file)
    report = load_weights(backbone, settings.weights)
    for line in report.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return backbone, report


def _read(settings: ImageSettings, backbone: Backbone, console: Console) -> _Data:
    resize = backbone.preprocessing.resize
    images = read_image_folder(settings.data, resize, skip_broken=settings.skip_broken, console=console)
    for line in images.skipped:
        console.print(f"skipped {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    split = split_images(images, validation=settings.validation, test=settings.test, seed=settings.seed)
    console.print(
        f"{len(images.files)} images, {split.description}; sha256 {images.sha256[:12]}", highlight=False, soft_wrap=True
    )
    return _Data(images, split, resize)


def _train(
    classifier: ImageClassifier,
    backbone: Backbone,
    data: _Data,
    settings: ImageSettings,
    run_folder: Path,
    console: Console,
) -> FitResult:
    validation = data.part(data.split.validation)
    if settings.mode == "freeze":
        train = data.part(data.split.train)
        return fit_head(classifier, backbone, train, validation, settings, run_folder, console)
    augmented = TrainingImages(data.images, data.split.train, data.resize, settings.smallest_crop)
    return fit_network(classifier, backbone, augmented, validation, settings, run_folder, console)


def _export(classifier: ImageClassifier, data: _Data) -> tuple[_Candidate, float]:
    """The float32 graph, through the gate, and its parity with torch."""
    classifier.eval()
    onnx_bytes = export_image_classifier(classifier, data.resize)
    expected, run = torch_run(classifier), make_run(open_session(onnx_bytes))
    sample = data.part(data.split.validation[: max(BATCH_SIZES)])
    pixels = np.stack([sample.pixels(item) for item in range(len(sample))])
    parity = check_parity(expected, run, gate_batches(pixels, BATCH_SIZES))
    validation, test = data.report(run, data.split.validation), data.report(run, data.split.test)
    check_metric("accuracy", data.report(expected, data.split.test).accuracy, test.accuracy)
    return _Candidate(onnx_bytes, run, validation, test, FLOAT_TOLERANCE, FLOAT_TOLERANCE), parity


def _try_int8(
    float_graph: _Candidate, expected: Run, data: _Data
) -> tuple[_Candidate, dict[str, dict[str, float | str]]]:
    """The int8 graph if it is faster and accurate, else the float one; and what was measured."""
    rng = np.random.default_rng(0)
    count = min(_CALIBRATION_IMAGES, len(data.split.train))
    calibration = tuple(int(index) for index in rng.choice(data.split.train, count, replace=False))
    onnx_bytes = quantize_int8(float_graph.onnx_bytes, (inputs for inputs, _ in data.part(calibration).batches(8)))
    run = make_run(open_session(onnx_bytes))
    inputs = [inputs for inputs, _ in data.part(data.split.validation).batches(_EVALUATION_BATCH)]
    gaps = [probability_gap(expected(batch)[PROBABILITIES], run(batch)[PROBABILITIES]) for batch in inputs]
    int8 = _Candidate(
        onnx_bytes,
        run,
        validation=data.report(run, data.split.validation),
        test=data.report(run, data.split.test),
        golden_atol=round(max(gaps), 4),
        golden_rtol=0.0,
    )
    pixels = inputs[0][IMAGE_INPUT]
    check_batch_independence(run, gate_batches(pixels, BATCH_SIZES))
    faster = speedup(float_graph.run, run, gate_batches(pixels, (8,))[0])
    reason = _reason_against(float_graph, int8, faster)
    tried = {
        "float32": _measured(float_graph, 1.0, "yes" if reason else "no: int8 is faster and as accurate"),
        "int8": _measured(int8, faster, f"no: {reason}" if reason else "yes"),
    }
    return (float_graph if reason else int8), tried


def _reason_against(float_graph: _Candidate, int8: _Candidate, faster: float) -> str:
    for part, before, after in (
        ("validation", float_graph.validation, int8.validation),
        ("test", float_graph.test, int8.test),
    ):
        if after.accuracy < before.accuracy - QUANTISATION_BUDGET:
            return f"{part} accuracy falls from {before.accuracy:.4f} to {after.accuracy:.4f}"
    return "" if faster > 1 else f"its speed is {faster:.2f} times that of float32"


def _measured(candidate: _Candidate, faster: float, kept: str) -> dict[str, float | str]:
    return {
        "validation_accuracy": round(candidate.validation.accuracy, 5),
        "accuracy": round(candidate.test.accuracy, 5),
        "megabytes": round(len(candidate.onnx_bytes) / 1e6, 2),
        "speedup": round(faster, 2),
        "golden_atol": candidate.golden_atol,
        "kept": kept,
    }


def _with_golden(card: Card, classifier: ImageClassifier, chosen: _Candidate, data: _Data) -> Card:
    """The card with golden samples from the test part."""
    run, part = torch_run(classifier), data.part(data.split.test)
    batches = list(part.batches(_EVALUATION_BATCH))
    probabilities = np.concatenate([run(inputs)[PROBABILITIES] for inputs, _ in batches])
    rows = choose_samples(probabilities, [label for _, labels in batches for label in labels])
    files = [data.images.files[data.split.test[row]] for row in rows]
    images = [encode_small(decode_image(file.path.read_bytes())) for file in files]
    golden = make_golden(images, data.resize, run, atol=chosen.golden_atol, rtol=chosen.golden_rtol)
    named = {**card.provenance.settings, "golden_samples": ", ".join(file.name for file in files)}
    provenance = card.provenance.model_copy(update={"settings": named})
    return card.model_copy(update={"golden": golden, "provenance": provenance})
