"""Training an image classifier that starts from a backbone: freeze, finetune or scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from training.data.images import EvaluationImages, TrainingImages
from training.data.order import ShuffledDraws, ShuffledOrder
from training.errors import BackboneError
from training.fit import FitResult, fit, parameter_groups
from training.models.backbones import (
    Backbone,
    batch_norm_is_folded,
    classification_loss,
    find_head,
    freeze_batch_norm,
)
from training.models.image import ImageClassifier
from training.runs import TrainingRun
from training.settings import ImageSettings


def fit_head(
    classifier: ImageClassifier,
    backbone: Backbone,
    train: EvaluationImages,
    validation: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
) -> FitResult:
    """Train the last layer alone; the rest is left as it is, statistics of batch norm included.

    What the last layer gets is computed once per image, so an epoch takes a moment. Images are not augmented.
    """
    classifier.eval().requires_grad_(False)
    head = _Head(find_head(backbone)).requires_grad_(True)
    features = [
        _head_inputs(classifier, head, images, settings, run.console, f"features of the {part} part")
        for images, part in ((train, "training"), (validation, "validation"))
    ]
    head.train()
    return fit(
        head,
        _loader(features[0], settings, shuffle=True, workers=0),
        _loader(features[1], settings, shuffle=False, workers=0),
        settings,
        loss=_loss(settings),
        metric=MulticlassAccuracy(backbone.classes, average="micro"),
        run_folder=run.folder,
        resume=run.resumes,
        console=run.console,
    )


def fit_network(
    classifier: ImageClassifier,
    backbone: Backbone,
    train: TrainingImages,
    validation: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
) -> FitResult:
    """Train everything on augmented images; in finetune mode the backbone at a lower rate than the head."""
    classifier.requires_grad_(True).train()
    rate = settings.backbone_rate if settings.mode == "finetune" else 1.0
    if _keep_statistics(backbone.network, settings):
        freeze_batch_norm(backbone.network)
    named = list(backbone.network.named_parameters())
    head = [parameter for name, parameter in named if name in backbone.head_keys]
    body = [parameter for name, parameter in named if name not in backbone.head_keys]
    return fit(
        classifier,
        _loader(train, settings, shuffle=True, workers=settings.workers),
        _loader(validation, settings, shuffle=False, workers=settings.workers),
        settings,
        loss=_loss(settings),
        metric=MulticlassAccuracy(backbone.classes, average="micro"),
        run_folder=run.folder,
        resume=run.resumes,
        groups=[*parameter_groups(head, settings), *parameter_groups(body, settings, rate_factor=rate)],
        console=run.console,
    )


class _Head(nn.Module):
    """The last layer, and the pooling behind it where it is a convolution (SqueezeNet)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs)
        return outputs if outputs.ndim == 2 else outputs.relu().mean((2, 3))


def _head_inputs(
    classifier: ImageClassifier,
    head: _Head,
    images: EvaluationImages,
    settings: ImageSettings,
    console: Console,
    what: str,
) -> TensorDataset:
    loader = _loader(images, settings, shuffle=False, workers=settings.workers)
    device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    classifier.to(device)
    features: list[Tensor] = []
    classes: list[Tensor] = []
    with torch.inference_mode(), _inputs_of(head.layer) as seen:
        for pixels, targets in track(loader, what, console=console, transient=True):
            logits = classifier(pixels.to(device))
            if not features and not torch.allclose(head(seen[0].to(device)), logits, rtol=1e-3, atol=1e-3):
                raise BackboneError("this backbone computes something behind its last layer; use --mode finetune")
            features.append(seen[0])
            classes.append(targets)
            seen.clear()
    classifier.cpu()
    # Tensors of the inference mode cannot take part in a training step.
    return TensorDataset(torch.cat(features).clone(), torch.cat(classes).clone())


@contextmanager
def _inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Within, what the layer is called with is collected."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].cpu()))
    try:
        yield seen
    finally:
        hook.remove()


def _keep_statistics(network: nn.Module, settings: ImageSettings) -> bool:
    if settings.batch_norm == "auto":
        return settings.mode == "finetune" and batch_norm_is_folded(network)
    return settings.batch_norm == "frozen"


def _loss(settings: ImageSettings) -> Callable[[Tensor, Tensor], Tensor]:
    return partial(classification_loss, label_smoothing=settings.label_smoothing)


def _loader(data: Dataset[Any], settings: ImageSettings, *, shuffle: bool, workers: int) -> DataLoader[Any]:
    # Batch norm cannot train on a batch of one image; where such a rest would remain, it is dropped.
    count = len(data)  # type: ignore[arg-type]
    rest_of_one = shuffle and count > settings.batch_size and count % settings.batch_size == 1
    order = ShuffledDraws if isinstance(data, TrainingImages) else ShuffledOrder
    return DataLoader(
        data,
        settings.batch_size,
        sampler=order(count, settings.seed) if shuffle else None,
        drop_last=rest_of_one,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
