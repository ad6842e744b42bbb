"""What Lightning's Trainer drives in `training.fit`: any model with its loss, its metric and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from torch import Tensor, nn
from torchmetrics import Metric

from training.errors import FitError
from training.settings import FitSettings

ParameterGroup = dict[str, Any]
"""What a torch optimizer takes: `{"params": [...], "lr": 1e-4}`."""


class FitModule(pl.LightningModule):
    """A model that keeps a `history` of its epochs: epoch, train_loss, validation_loss, score."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Tensor], Tensor],
        metric: Metric,
        settings: FitSettings,
        groups: Sequence[ParameterGroup],
        mode: str,
        console: Console,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.metric = metric
        self.settings = settings
        self.groups = groups
        self.better = max if mode == "max" else min
        self.console = console
        self.history: list[dict[str, float]] = []
        self.totals = {"train": _Mean(), "validation": _Mean()}

    def forward(self, inputs: Any) -> Any:
        return self.model(*inputs) if isinstance(inputs, tuple | list) else self.model(inputs)

    def training_step(self, batch: Any) -> Tensor:
        inputs, target = batch
        loss = self.loss(self(inputs), target)
        self.totals["train"].add(loss.detach(), len(target))
        return loss

    def validation_step(self, batch: Any) -> None:
        inputs, target = batch
        output = self(inputs)
        self.totals["validation"].add(self.loss(output, target).detach(), len(target))
        self.metric.update(output, target)

    def on_validation_epoch_end(self) -> None:
        row = {"epoch": float(len(self.history) + 1)}
        row |= {f"{part}_loss": total.take() for part, total in self.totals.items()}
        row["score"] = float(self.metric.compute())
        self.metric.reset()
        if not all(abs(value) < float("inf") for value in row.values()):
            raise FitError(
                f"the loss is not finite after epoch {row['epoch']:.0f}; "
                f"lower learning_rate ({self.settings.learning_rate:g}) or set clip_norm"
            )
        self.history.append(row)
        self.log_dict({key: value for key, value in row.items() if key != "epoch"})
        self._print(row)

    def _print(self, row: dict[str, float]) -> None:
        earlier = [past["score"] for past in self.history[:-1]]
        best = not earlier or self.better(earlier) != self.better([*earlier, row["score"]])
        self.console.print(
            f"epoch {row['epoch']:3.0f}/{self.settings.epochs}  loss {row['train_loss']:.4f}  "
            f"validation loss {row['validation_loss']:.4f}  score {row['score']:.4f}{'  *' if best else ''}",
            highlight=False,
        )

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(list(self.groups), lr=self.settings.learning_rate)
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate_schedule(self.settings, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class _Mean:
    """Running mean on the device of its values: no synchronisation until it is taken."""

    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0
        self.count = 0

    def add(self, value: Tensor, count: int) -> None:
        self.sum = self.sum + value * count
        self.count += count

    def take(self) -> float:
        mean = float(self.sum) / max(self.count, 1)
        self.sum, self.count = 0.0, 0
        return mean


def _rate_schedule(settings: FitSettings, steps: int) -> Callable[[int], float]:
    warmup = int(settings.warmup_fraction * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "constant":
            return 1.0
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor
