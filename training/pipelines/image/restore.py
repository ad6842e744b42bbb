"""The classifier that a run of images trained, as torch has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from training.data.images.readers import find_images
from training.errors import DataError, SettingsError
from training.fit.checkpoints import BEST
from training.models.adoption import adopt_weights
from training.models.backbones import Backbone, find_head
from training.models.image import Head, ImageClassifier
from training.pipelines.image.backbone import prepare_backbone
from training.pipelines.origin import Origin, origin_of, weights_file
from training.runs import SETTINGS_FILE, TrainingRun, read_values
from training.settings import ImageSettings


def restore_classifier(
    folder: Path, console: Console, classes: tuple[str, ...] = ()
) -> tuple[ImageClassifier, Backbone, tuple[str, ...]]:
    """The classifier with the weights of its best epoch, in evaluation mode; its backbone; and its classes.

    Args:
        folder: of the run.
        console: for what is loaded.
        classes: that it tells; default: those of its data.

    Raises:
        DataError: the data of the run are not where they were, or have other classes.
        SettingsError: the folder is not that of a run of images that was trained.
    """
    if not (folder / SETTINGS_FILE).is_file():
        raise SettingsError(f"{folder} is not the folder of a run; give RUNS/NAME/TIME of python -m training image")
    settings = ImageSettings.model_validate(read_values(folder / SETTINGS_FILE, ImageSettings))
    file = weights_file(folder)
    if not file.is_file():
        raise SettingsError(f"{folder} has no {BEST}; give the folder of a run of python -m training image")
    classes = classes or find_images(settings.data).classes
    run = TrainingRun(settings.model_copy(update={"resume": folder, "runs": folder.resolve().parents[1]}), console)
    backbone, _ = prepare_backbone(settings, len(classes), run)
    classifier = ImageClassifier(backbone)
    adopt_classifier(classifier, classes, run)
    state = torch.load(file, weights_only=True, map_location="cpu")["state_dict"]
    target = Head(find_head(backbone), 0.0) if settings.mode == "freeze" else classifier
    try:
        target.load_state_dict(state)
    except RuntimeError as exc:
        raise DataError(f"{settings.data} has {len(classes)} classes, the run in {folder} had others") from exc
    return classifier.eval(), backbone, classes


def adopt_classifier(classifier: ImageClassifier, classes: Sequence[str], run: TrainingRun) -> Origin | None:
    """Where the run goes on from a published model, give the classifier what that had learnt.

    Raises:
        WeightsError: the networks differ, or a class of the model is missing.
        TrainingError: see `find_origin`.
    """
    origin = origin_of(run)
    if origin is not None:
        before, _, _ = restore_classifier(origin.folder, Console(quiet=True), origin.labels)
        adopt_weights(classifier, before.state_dict(), origin.labels, classes)
    return origin
