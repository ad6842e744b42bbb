"""Experiments with image classifiers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.data.groups import class_folds
from training.data.images import image_groups
from training.data.images.readers import find_images
from training.data.split import Split
from training.experiments.tasks import Validated, classifier_answers, classifier_metrics, describe_folds
from training.export.image import torch_run
from training.models.backbones import make_backbone
from training.models.image import ImageClassifier
from training.pipelines.duplicates import treat_image_duplicates
from training.pipelines.image.backbone import prepare_backbone
from training.pipelines.image.export import ImageData
from training.pipelines.image.train import read_data, train_classifier
from training.pipelines.manifests import image_rows
from training.runs import TrainingRun
from training.settings import ImageSettings


class ImageTask:
    """See `training.experiments.tasks.Task`. Images that were read once are kept for the next training."""

    kind = ImageSettings

    def __init__(self) -> None:
        self._kept: tuple[object, ImageData] | None = None

    def read(self, settings: ImageSettings, run: TrainingRun) -> ImageData:
        """Read, scaled as the backbone takes them, and split by class."""
        file = None if settings.weights in ("none", "pretrained") else Path(settings.weights)
        classes = len(find_images(settings.data).classes)
        backbone = make_backbone(settings.backbone, classes, weights_file=file, image_size=settings.image_size)
        chosen = {"data", "skip_broken", "crop_to_boxes", "validation", "test", "seed", "split_seed", "group"}
        key = (backbone.preprocessing.resize, settings.model_dump(include=chosen))
        if self._kept is None or self._kept[0] != key:
            self._kept = key, read_data(settings, backbone, run)
        return self._kept[1]

    def metric(self, settings: ImageSettings) -> str:  # noqa: ARG002
        """Accuracy."""
        return "accuracy"

    def sha256(self, data: ImageData) -> str:
        """Over names and contents of the images."""
        return data.images.sha256

    def clean(self, settings: ImageSettings, data: ImageData, run: TrainingRun) -> ImageData:
        """Without images that look like held-out ones."""
        split, found = treat_image_duplicates(data.images, data.split, settings.duplicates)
        run.say(found.summary(), style="yellow" if found.found else "")
        return replace(data, split=split)

    def folds(self, settings: ImageSettings, data: ImageData, count: int) -> list[ImageData]:
        """Stratified by class; groups stay together."""
        pool, labels = sorted(data.split.train + data.split.validation), data.images.labels
        groups = image_groups(data.images, settings.group, pool)
        folds = class_folds(
            [labels[item] for item in pool], groups, count, seed=settings.seed_of_split, names=data.images.classes
        )
        cut = []
        for number, fold in enumerate(folds, 1):
            held_out = tuple(pool[place] for place in fold)
            train = tuple(sorted(set(pool) - set(held_out)))
            words = f"fold {number} of {count}, {describe_folds(settings)}"
            cut.append(replace(data, split=Split(train, held_out, data.split.test, words)))
        return cut

    def validate(self, settings: ImageSettings, data: ImageData, run: TrainingRun) -> Validated:
        """Train in the mode of the settings."""
        classes, held_out = data.images.classes, data.split.validation
        backbone, _ = prepare_backbone(settings, len(classes), run)
        classifier = ImageClassifier(backbone)
        run.begin(image_rows(data.images, data.split))
        result = train_classifier(classifier, backbone, data, settings, run)
        report = data.report(torch_run(classifier), held_out)
        names = [data.images.items[item].name for item in held_out]
        return Validated(result, classifier_metrics(report), classifier_answers(report, names, classes))
