"""Training a whole image classifier: from a pre-trained backbone at lower rates, or from random weights."""

from __future__ import annotations

from torch import nn

from training.data.images import EvaluationImages, TrainingImages
from training.data.images.augmentation import Mixing, write_preview
from training.data.images.copies import write_copies
from training.errors import BackboneError
from training.fit import FitResult, ParameterGroup, fit, parameter_groups
from training.models.backbones import Backbone, find_head
from training.models.image import ImageClassifier
from training.models.layers import batch_norm_is_folded, freeze_batch_norm, set_dropout
from training.pipelines.image.head import fit_head
from training.pipelines.image.loading import (
    ActivationPenalty,
    evaluation_loader,
    make_loss,
    make_metric,
    training_loader,
)
from training.processes import is_first_process
from training.runs import TrainingRun
from training.settings import ImageSettings

PREVIEW_FILE, COPIES_FOLDER, HEAD_FOLDER = "augmentation.png", "copies", "head"


def finetune(
    classifier: ImageClassifier,
    backbone: Backbone,
    train: TrainingImages,
    validation: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
) -> FitResult:
    """Train the head alone, then everything on augmented images, the backbone at lower rates than the head."""
    if settings.head_epochs and settings.weights != "none":
        first = _begin_with_head(classifier, backbone, train, validation, settings, run)
        if first is not None and first.interrupted:
            return first
    frozen = _keep_statistics(backbone.network, settings)
    return _fit(classifier, backbone, train, validation, settings, run, frozen_norm=frozen)


def train_from_scratch(
    classifier: ImageClassifier,
    backbone: Backbone,
    train: TrainingImages,
    validation: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
) -> FitResult:
    """Train everything on augmented images at one rate."""
    return _fit(classifier, backbone, train, validation, settings, run, frozen_norm=settings.batch_norm == "frozen")


def rate_groups(backbone: Backbone, settings: ImageSettings) -> list[ParameterGroup]:
    """Parameter groups of a fine-tuning: the head at the full rate, each stage of the backbone lower than the next.

    A stage is a child of the network, or of a sequential child, in the order of its definition.
    """
    head, stages = list[nn.Parameter](), dict[str, list[nn.Parameter]]()
    for name, parameter in backbone.network.named_parameters():
        if name in backbone.head_keys:
            head.append(parameter)
        else:
            stages.setdefault(_stage(backbone.network, name), []).append(parameter)
    groups = parameter_groups(head, settings)
    for depth, parameters in enumerate(reversed(stages.values())):
        rate = settings.backbone_rate * settings.layer_decay**depth
        groups += parameter_groups(parameters, settings, rate_factor=rate)
    return groups


def _fit(
    classifier: ImageClassifier,
    backbone: Backbone,
    train: TrainingImages,
    validation: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
    *,
    frozen_norm: bool,
) -> FitResult:
    classifier.requires_grad_(True).train()
    if frozen_norm:
        freeze_batch_norm(backbone.network)
    if settings.dropout is not None:
        set_dropout(backbone.network, find_head(backbone), settings.dropout)
    mixing = Mixing(settings, backbone.classes) if Mixing.wanted(settings) else None
    if is_first_process():
        write_preview(train, mixing, run.folder / PREVIEW_FILE)
    data = write_copies(train, settings.copies, run.folder / COPIES_FOLDER) if settings.copies else train
    loss = make_loss(settings)
    if settings.l1_activations:
        loss = ActivationPenalty(loss, find_head(backbone), settings.l1_activations)
    everything = parameter_groups(backbone.network.parameters(), settings)
    return fit(
        classifier,
        training_loader(data, settings, workers=settings.workers),
        evaluation_loader(validation, settings, workers=settings.workers),
        settings,
        loss=loss,
        metric=make_metric(backbone.classes),
        run_folder=run.folder,
        groups=everything if settings.mode == "scratch" else rate_groups(backbone, settings),
        prepare=mixing,
        resume=run.resumes,
        after_epoch=run.after_epoch,
        console=run.console,
    )


def _begin_with_head(
    classifier: ImageClassifier,
    backbone: Backbone,
    train: TrainingImages,
    validation: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
) -> FitResult | None:
    """The head alone; None where a backbone has no head of its own."""
    plain = EvaluationImages(train.images, train.indexes, train.resize)
    alone = settings.model_copy(update={"epochs": settings.head_epochs, "averaging": "none"})
    try:
        return fit_head(classifier, backbone, plain, validation, alone, run, folder=run.folder / HEAD_FOLDER)
    except BackboneError as exc:
        run.say(f"the head is not trained alone first: {exc}", style="yellow")
        return None


def _stage(network: nn.Module, name: str) -> str:
    first, second, *_ = [*name.split("."), ""]
    return f"{first}.{second}" if isinstance(getattr(network, first), nn.Sequential) else first


def _keep_statistics(network: nn.Module, settings: ImageSettings) -> bool:
    return settings.batch_norm == "frozen" or (settings.batch_norm == "auto" and batch_norm_is_folded(network))
