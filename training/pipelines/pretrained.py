"""From a network with its ImageNet head, as its library or a file has it, to a published classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from training.errors import DataError, SettingsError, WeightsError
from training.export.gate import BATCH_SIZES, check_parity, publish_checked
from training.export.golden import FLOAT_TOLERANCE, generated_images, make_golden
from training.export.image import export_image_classifier, gate_batches, torch_run
from training.export.provenance import now, software_versions
from training.files import check_repository
from training.models.backbones import TIMM_PREFIX, Backbone, head_name, library_labels, make_backbone
from training.models.image import ImageClassifier
from training.models.weights import LoadReport, load_weights
from training.saying import say
from training.settings import PretrainedSettings
from zoo.card import Card, ImageTask, Provenance
from zoo.image import prepare_image
from zoo.repository import ModelVersion, check_name
from zoo.runtime import make_run, open_session


@dataclass(frozen=True)
class PretrainedOutcome:
    """What an export gave."""

    published: ModelVersion
    card: Card
    parity: float
    """Largest relative error between torch and ONNX Runtime."""


def export_pretrained(settings: PretrainedSettings, *, console: Console | None = None) -> PretrainedOutcome:
    """Load, export, gate and publish.

    Raises:
        TrainingError: see `training.errors`; the weights must have a head that fits the labels.
        ZooError: the name cannot name a model, or a golden image cannot be read.
    """
    console = console or Console(stderr=True)
    name = check_name(settings.name or settings.backbone.removeprefix(TIMM_PREFIX))
    if settings.weights == "none":
        raise SettingsError("what is published needs weights: give --weights pretrained or FILE")
    check_repository(settings.output, name, settings.version)
    labels = _find_labels(settings)
    images = [_read_image(path) for path in settings.golden] or generated_images()
    file = None if settings.weights == "pretrained" else Path(settings.weights)
    backbone = make_backbone(settings.backbone, len(labels), weights_file=file)
    report = load_weights(backbone, settings.weights)
    _check_head(backbone, report)
    for line in report.lines():
        say(console, line)
    classifier = ImageClassifier(backbone).eval()
    resize = backbone.preprocessing.resize
    onnx_bytes = export_image_classifier(classifier, resize)
    pixels = np.stack([prepare_image(image, resize) for image in images])
    expected, run = torch_run(classifier), make_run(open_session(onnx_bytes))
    parity = check_parity(expected, run, gate_batches(pixels, BATCH_SIZES))
    card = Card(
        name=name,
        description=settings.description or f"{settings.backbone} with its own head, {len(labels)} classes",
        task=ImageTask(labels=labels, resize=resize),
        licence=settings.licence or backbone.licence,
        provenance=_describe(settings, report),
        golden=make_golden(images, resize, expected, atol=FLOAT_TOLERANCE, rtol=FLOAT_TOLERANCE),
    )
    published = publish_checked(onnx_bytes, card, settings.output, name, settings.version)
    return PretrainedOutcome(published, card, parity)


def _find_labels(settings: PretrainedSettings) -> tuple[str, ...]:
    if settings.labels:
        return _read_labels(settings.labels)
    labels = library_labels(settings.backbone)
    if not labels:
        raise DataError(f"the library has no labels for {settings.backbone}; pass --labels FILE, one label per line")
    return labels


def _read_image(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"--golden {path} cannot be read: {exc.strerror}") from exc


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"--labels {path} cannot be read as UTF-8 text: {exc}") from exc
    labels = tuple(line.strip() for line in lines if line.strip())
    if len(labels) < 2:
        raise DataError(f"--labels {path} has {len(labels)} label(s); give one per line, in the order of the outputs")
    return labels


def _check_head(backbone: Backbone, report: LoadReport) -> None:
    head = head_name(backbone) + "."
    lost = [line for line in (*report.missing, *report.mismatched) if line.startswith(head)]
    if lost:
        raise WeightsError(
            f"{report.source} does not hold the head of {backbone.name} with {backbone.classes} classes ({lost[0]}); "
            f"pass the --labels of these weights, or train a head: python -m training image DATA --mode freeze"
        )


def _describe(settings: PretrainedSettings, report: LoadReport) -> Provenance:
    return Provenance(
        created=now(),
        recipe=f"python -m training pretrained {settings.backbone}",
        data="as published with the weights",
        data_sha256="",
        weights_source=report.origin,
        versions=software_versions(),
    )
