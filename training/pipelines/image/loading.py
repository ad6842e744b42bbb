"""Loss, metric and batches that all ways of training an image classifier share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from training.data.images import TrainingImages
from training.data.order import ShuffledDraws, ShuffledOrder
from training.models.backbones import classification_loss
from training.settings import ImageSettings


def make_loss(settings: ImageSettings) -> Callable[[Any, Tensor], Tensor]:
    """Cross entropy with the label smoothing of the run."""
    return partial(classification_loss, label_smoothing=settings.label_smoothing)


class ActivationPenalty:
    """A loss, and in training the mean absolute value of what a layer gets, which makes it sparse."""

    def __init__(self, loss: Callable[[Any, Tensor], Tensor], layer: nn.Module, factor: float) -> None:
        self.loss = loss
        self.factor = factor
        self._penalty: Tensor | None = None
        layer.register_forward_pre_hook(self._measure)

    def __call__(self, output: Any, target: Tensor) -> Tensor:
        loss, penalty = self.loss(output, target), self._penalty
        self._penalty = None
        return loss if penalty is None else loss + self.factor * penalty

    def _measure(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer.training:
            self._penalty = inputs[0].abs().mean()


def make_metric(classes: int) -> Metric:
    """Accuracy, which decides the best epoch."""
    return MulticlassAccuracy(classes, average="micro")


def training_loader(data: Dataset[Any], settings: ImageSettings, *, workers: int) -> DataLoader[Any]:
    """Shuffled batches; a last one of a single image is left out, since batch norm cannot train on it."""
    count = len(data)  # type: ignore[arg-type]
    order = ShuffledDraws if isinstance(data, TrainingImages) else ShuffledOrder
    return DataLoader(
        data,
        settings.batch_size,
        sampler=order(count, settings.seed),
        drop_last=count > settings.batch_size and count % settings.batch_size == 1,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def evaluation_loader(data: Dataset[Any], settings: ImageSettings, *, workers: int) -> DataLoader[Any]:
    """Batches in the order of the data."""
    return DataLoader(data, settings.batch_size, num_workers=workers, persistent_workers=workers > 0)
