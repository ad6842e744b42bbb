"""What Lightning's Trainer drives in `training.fit`: any model with its loss, its metric and its learning rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from torch import Tensor, nn
from torchmetrics import Metric

from training.data.order import epoch_generator, set_epoch
from training.errors import DivergedError
from training.files import write_rows
from training.fit.averaging import Averaging
from training.fit.disk import told_to_make_room
from training.fit.optimizer import ParameterGroup, l1_penalty, rate_schedule
from training.processes import is_first_process, process_count, process_rank, sum_over_processes
from training.settings import FitSettings

Prepare = Callable[[Any, Tensor], tuple[Any, Tensor]]
"""What is done to a training batch on the way, such as mixup."""
AfterEpoch = Callable[[Sequence[Mapping[str, float]]], None]
"""Told the history after each whole epoch."""
METRICS_FILE = "metrics.csv"


class FitModule(pl.LightningModule):
    """A model that keeps a `history` of its epochs, in memory and as `metrics.csv` in the run folder.

    Columns: epoch, train_loss, validation_loss, score, learning_rate (of the first group), seconds.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Tensor], Tensor],
        metric: Metric,
        settings: FitSettings,
        groups: Sequence[ParameterGroup],
        mode: str,
        prepare: Prepare | None,
        run_folder: Path,
        console: Console,
        after_epoch: AfterEpoch | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.metric = metric
        self.settings = settings
        self.groups = groups
        self.prepare = prepare
        self.averaging = None if settings.averaging == "none" else Averaging(model, settings)
        self.better = max if mode == "max" else min
        self.run_folder = run_folder
        self.console = console
        self.after_epoch = after_epoch
        self.history: list[dict[str, float]] = []
        self.totals = {"train": _Mean(), "validation": _Mean()}
        self._epoch_began = time.monotonic()

    def forward(self, inputs: Any) -> Any:
        return self.model(*inputs) if isinstance(inputs, tuple | list) else self.model(inputs)

    def on_train_epoch_start(self) -> None:
        """Tell the samplers the epoch; Lightning does not call this for the first epoch of a resumed training."""
        set_epoch(self.trainer.train_dataloader, len(self.history))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Draw what an epoch draws from seed and epoch alone, so that a resumed training goes on the same way."""
        if batch_idx == 0:
            self._epoch_began = time.monotonic()
            drawn = int(epoch_generator(self.settings.seed, len(self.history)).integers(2**62))
            torch.manual_seed(drawn + process_rank())  # each process has images of its own to drop pieces of

    def training_step(self, batch: Any) -> Tensor:
        inputs, target = self.prepare(*batch) if self.prepare else batch
        loss = self.loss(self(inputs), target)
        self.totals["train"].add(loss.detach(), len(target))
        loss = loss * _weight(len(target))
        return loss + self.settings.l1 * l1_penalty(self.groups) if self.settings.l1 else loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        if self.averaging:
            self.averaging.after_step(self.model)

    def on_validation_epoch_start(self) -> None:
        self._share_statistics()
        if self.averaging:
            self.averaging.after_epoch(self.model, len(self.history))
            self.averaging.eval()

    @property
    def evaluated(self) -> nn.Module:
        """The model whose weights are measured and kept."""
        return self.averaging.model(self.model) if self.averaging else self.model

    def validation_step(self, batch: Any) -> None:
        inputs, target = batch
        output = self.evaluated(*inputs) if isinstance(inputs, tuple | list) else self.evaluated(inputs)
        self.totals["validation"].add(self.loss(output, target).detach(), len(target))
        self.metric.update(output, target)

    def on_validation_epoch_end(self) -> None:
        row = {"epoch": float(len(self.history) + 1)}
        row |= {f"{part}_loss": total.take() for part, total in self.totals.items()}
        row["score"] = float(self.metric.compute())
        row["learning_rate"] = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        row["seconds"] = round(time.monotonic() - self._epoch_began, 3)
        self.metric.reset()
        if not all(abs(value) < float("inf") for value in row.values()):
            raise DivergedError(
                f"the loss is not finite after epoch {row['epoch']:.0f}; "
                f"lower learning_rate ({self.settings.learning_rate:g}) or set clip_norm"
            )
        self.history.append(row)
        self.log_dict({key: value for key, value in row.items() if key not in ("epoch", "seconds")})
        self._write_metrics()
        self._print(row)
        cut_short = self.trainer.should_stop  # by Ctrl-C; early stopping decides later
        if self.after_epoch and not cut_short:
            self.after_epoch(self.history)

    def best_epoch(self) -> int:
        """The epoch with the best score, counted from 1; of equal ones the first."""
        scores = [row["score"] for row in self.history]
        return 1 + scores.index(self.better(scores))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history for a resumed training."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the history of the training that is resumed."""
        self.history = list(checkpoint["history"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(list(self.groups), lr=self.settings.learning_rate)
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_schedule(self.settings, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _share_statistics(self) -> None:
        """Batch norm of each process has seen other items; those of the first are kept."""
        if process_count() > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def _write_metrics(self) -> None:
        if not is_first_process():
            return
        file = self.run_folder / METRICS_FILE
        with told_to_make_room(file):
            self.run_folder.mkdir(parents=True, exist_ok=True)
            rows = [(row | {"epoch": int(row["epoch"])}).values() for row in self.history]
            write_rows(file, [list(self.history[0]), *map(list, rows)])

    def _print(self, row: dict[str, float]) -> None:
        best = self.best_epoch() == len(self.history)
        left = row["seconds"] * (self.settings.epochs - row["epoch"])
        self.console.print(
            f"epoch {row['epoch']:3.0f}/{self.settings.epochs}  loss {row['train_loss']:.4f}  "
            f"validation loss {row['validation_loss']:.4f}  score {row['score']:.4f}  "
            f"at most {left:.0f} s left{'  *' if best else ''}",
            highlight=False,
            soft_wrap=True,
        )


def _weight(items: int) -> float:
    """What makes the mean of the processes' gradients that of the whole batch: 1, where their parts are equal."""
    return items * process_count() / sum_over_processes(items)[0]


class _Mean:
    """Running mean, over all processes, on the device of its values: no synchronisation until it is taken."""

    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0
        self.count = 0

    def add(self, value: Tensor, count: int) -> None:
        self.sum = self.sum + value * count
        self.count += count

    def take(self) -> float:
        total, count = sum_over_processes(float(self.sum), self.count)
        mean = total / max(count, 1)
        self.sum, self.count = 0.0, 0
        return mean
