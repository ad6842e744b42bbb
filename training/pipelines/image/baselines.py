"""The simple answers beside an image classifier."""

from __future__ import annotations

import numpy as np
from PIL import Image

from training.data.images import EvaluationImages
from training.errors import TrainingError
from training.evaluation.logistic import Labelled, logistic_accuracy_on_features
from training.models.backbones import Backbone, find_head
from training.models.image import Head, ImageClassifier
from training.pipelines.image.backbone import load_backbone
from training.pipelines.image.export import ImageData
from training.pipelines.image.features import head_features
from training.runs import TrainingRun
from training.settings import ImageSettings

_THUMBNAIL_PX = 16
_NAMES = ("training", "validation", "test")


def image_baselines(data: ImageData, settings: ImageSettings, run: TrainingRun) -> dict[str, float]:
    """Test accuracy by name: of the most frequent class, and of logistic regression.

    The latter on what the last layer of the backbone gets with the weights that the run began with; where it began with
    random ones, on the pixels of a thumbnail.
    """
    classes = np.array(data.images.labels)
    majority = np.bincount(classes[list(data.split.train)]).argmax()
    baselines = {"majority": float(np.mean(classes[list(data.split.test)] == majority))}
    if not settings.baselines:
        return baselines
    parts = [data.part(indexes) for indexes in (data.split.train, data.split.validation, data.split.test)]
    try:
        if settings.weights != "none":
            accuracy = logistic_accuracy_on_features(*_features(parts, settings, run))
            return baselines | {"logistic_regression_on_features": accuracy}
    except TrainingError as exc:  # after a whole training, this must not end the run
        run.say(f"logistic regression is on pixels: {exc}", style="yellow")
    return baselines | {"logistic_regression_on_pixels": logistic_accuracy_on_features(*map(_pixels, parts))}


def _features(parts: list[EvaluationImages], settings: ImageSettings, run: TrainingRun) -> list[Labelled]:
    backbone, _ = load_backbone(settings, len(parts[0].images.classes))
    return [_part_features(backbone, part, name, settings, run) for part, name in zip(parts, _NAMES, strict=True)]


def _part_features(
    backbone: Backbone, part: EvaluationImages, name: str, settings: ImageSettings, run: TrainingRun
) -> Labelled:
    head = Head(find_head(backbone), 0.0)
    features, classes = head_features(ImageClassifier(backbone), backbone, head, part, settings, run, name)
    means = features.flatten(2).mean(2) if features.ndim > 2 else features  # of the maps that a convolution gets
    return Labelled(means.numpy(), classes.tolist())


def _pixels(part: EvaluationImages) -> Labelled:
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    images = [Image.fromarray(part.pixels(item)).resize(size, Image.Resampling.BOX) for item in range(len(part))]
    features = np.stack([np.asarray(image, np.float32).ravel() for image in images])
    return Labelled(features, [part.images.items[index].label for index in part.indexes])
