"""The network that a run of images starts from."""

from __future__ import annotations

from pathlib import Path

from training.models.backbones import Backbone, make_backbone
from training.models.weights import LoadReport, load_weights
from training.runs import TrainingRun
from training.settings import ImageSettings


def prepare_backbone(settings: ImageSettings, classes: int, run: TrainingRun) -> tuple[Backbone, LoadReport | None]:
    """The network with its initial weights, and what was loaded, which the run tells; see `load_backbone`."""
    backbone, report = load_backbone(settings, classes)
    run.say(*(report.lines() if report else ()))
    return backbone, report


def load_backbone(settings: ImageSettings, classes: int) -> tuple[Backbone, LoadReport | None]:
    """The network with its initial weights, and what was loaded.

    Raises:
        TrainingError: the backbone or its weights cannot be had.
    """
    if settings.weights == "none":
        return make_backbone(settings.backbone, classes, scratch=True, image_size=settings.image_size), None
    file = None if settings.weights == "pretrained" else Path(settings.weights)
    backbone = make_backbone(settings.backbone, classes, weights_file=file, image_size=settings.image_size)
    return backbone, load_weights(backbone, settings.weights)
