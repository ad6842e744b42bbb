"""From a folder of images to a published classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from training.data.images import (
    EvaluationImages,
    ImageItem,
    LabelledImages,
    TrainingImages,
    channel_statistics,
    read_images,
    split_images,
)
from training.data.images.augmentation import make_augmentation
from training.data.images.readers import find_images
from training.evaluation.calibration import describe_calibration
from training.evaluation.classification import ClassificationReport
from training.export.gate import publish_checked
from training.export.image import torch_run
from training.export.provenance import class_shares, describe_run
from training.fit import FitResult
from training.models.backbones import Backbone
from training.models.image import ImageClassifier
from training.models.published import PooledHead
from training.pipelines.duplicates import Duplicates, check_validation, treat_image_duplicates
from training.pipelines.image.backbone import prepare_backbone
from training.pipelines.image.baselines import image_baselines
from training.pipelines.image.export import ImageData, export_checked, try_int8, with_golden
from training.pipelines.image.graph import complete_classifier
from training.pipelines.image.head import fit_head
from training.pipelines.image.network import finetune, train_from_scratch
from training.pipelines.image.restore import adopt_classifier
from training.pipelines.manifests import image_rows
from training.runs import TrainingRun, run_name
from training.settings import ImageSettings
from zoo.card import Card, ImageTask
from zoo.repository import ModelVersion

_SHOWN_TWINS = 8


@dataclass(frozen=True)
class ImageOutcome:
    """What a run gave."""

    published: ModelVersion
    card: Card
    fit: FitResult
    test: ClassificationReport
    """Of the published graph, through ONNX Runtime."""
    test_items: tuple[ImageItem, ...]
    """In the order of the report."""
    baselines: dict[str, float]
    """Test accuracy of the simple answers, by name."""
    duplicates: Duplicates
    twins: tuple[tuple[ImageItem, ImageItem], ...]
    """The first near-duplicates, to be looked at."""
    parity: float
    """Largest relative error between torch and ONNX Runtime, float32."""
    run_folder: Path


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
    run = TrainingRun.to_publish(settings, console)
    classes = find_images(settings.data).classes
    backbone, load_report = prepare_backbone(settings, len(classes), run)
    data = read_data(settings, backbone, run)
    data, duplicates = _treat_duplicates(data, settings, run)
    classifier = ImageClassifier(backbone)
    pooled = PooledHead(backbone) if settings.cam else None
    origin = adopt_classifier(classifier, classes, run)
    run.begin(image_rows(data.images, data.split))
    result = train_classifier(classifier, backbone, data, settings, run)
    run.end_training()
    duplicates.write(run.folder)
    uses = run.look_at_test(data.images.sha256, data.split.description)
    run.say("evaluating and exporting")
    complete, tried = complete_classifier(classifier, pooled, data, settings)
    float_graph, parity = export_checked(complete.classifier, data)
    chosen = float_graph
    if settings.quantize == "int8":
        chosen, attempts = try_int8(float_graph, torch_run(complete.classifier), data)
        tried |= attempts
    baselines = image_baselines(data, settings, run)
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
            run=run_name(run.folder),
            test_uses=uses,
            weights_source=origin.source if origin else load_report.origin if load_report else "",
        ),
        test_metrics=chosen.test.metrics()
        | {f"{name}_accuracy": round(value, 5) for name, value in baselines.items()}
        | duplicates.metrics(chosen.test),
        calibration=complete.temperature and describe_calibration(complete.temperature, chosen.test),
        tried=tried,
        reference=channel_statistics(EvaluationImages(data.images, data.split.train, data.resize)),
        class_shares=class_shares([data.images.items[item].label for item in data.split.train], classes),
    )
    card = with_golden(card, complete.classifier, chosen, data)
    published = publish_checked(chosen.onnx_bytes, card, settings.output, settings.name, settings.version)
    test_items = tuple(data.images.items[index] for index in data.split.test)
    return ImageOutcome(
        published,
        card,
        result,
        chosen.test,
        test_items,
        baselines,
        duplicates,
        _twins(duplicates, data.images),
        parity,
        run.folder,
    )


def read_data(settings: ImageSettings, backbone: Backbone, run: TrainingRun) -> ImageData:
    """The images of a run, scaled as its backbone takes them, and their split."""
    resize = backbone.preprocessing.resize
    images = read_images(
        settings.data,
        resize,
        skip_broken=settings.skip_broken,
        crop_to_boxes=settings.crop_to_boxes,
        console=run.console,
    )
    run.say(*(f"skipped {line}" for line in images.skipped), style="yellow")
    split = split_images(
        images, validation=settings.validation, test=settings.test, seed=settings.seed_of_split, group=settings.group
    )
    run.say(f"{len(images.items)} images, {split.description}; sha256 {images.sha256[:12]}")
    return ImageData(images, split, resize)


def _treat_duplicates(data: ImageData, settings: ImageSettings, run: TrainingRun) -> tuple[ImageData, Duplicates]:
    split, duplicates = treat_image_duplicates(data.images, data.split, settings.duplicates)
    run.say(duplicates.summary(), style="yellow" if duplicates.found else "")
    return replace(data, split=split), duplicates


def train_classifier(
    classifier: ImageClassifier, backbone: Backbone, data: ImageData, settings: ImageSettings, run: TrainingRun
) -> FitResult:
    """Train on the training part in the mode of the settings; the validation part chooses the best epoch.

    Raises:
        DataError: there is no validation part.
    """
    check_validation(data.split.validation)
    validation = data.part(data.split.validation)
    if settings.mode == "freeze":
        return fit_head(classifier, backbone, data.part(data.split.train), validation, settings, run)
    transform = make_augmentation(settings, data.resize)
    augmented = TrainingImages(data.images, data.split.train, data.resize, transform)
    fit_all = finetune if settings.mode == "finetune" else train_from_scratch
    return fit_all(classifier, backbone, augmented, validation, settings, run)


def _twins(duplicates: Duplicates, images: LabelledImages) -> tuple[tuple[ImageItem, ImageItem], ...]:
    by_name = {item.name: item for item in images.items}
    return tuple((by_name[row.item.name], by_name[row.other.name]) for row in duplicates.found[:_SHOWN_TWINS])
