"""What a training leaves on disk after each epoch: the weights of the best one, and all that it takes to go on.

Lightning's ModelCheckpoint overwrites the best weights with those of an epoch that Ctrl-C cut short; a run that is
resumed after it must not see these.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from training.fit.disk import told_to_make_room
from training.fit.module import FitModule
from training.processes import is_first_process

BEST, LAST, CUT_SHORT = "best.ckpt", "last.ckpt", "cut-short.ckpt"


class EpochCheckpoints(Checkpoint):
    """Files in a run folder, each written whole or not at all.

    `best.ckpt`: weights of the best whole epoch. `last.ckpt`: the training after the last whole epoch.
    `cut-short.ckpt`: weights of an epoch that Ctrl-C ended early, where they are the best of all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights that were just measured, if none were better."""
        assert isinstance(pl_module, FitModule), "only training.fit uses this"
        if pl_module.best_epoch() != len(pl_module.history):
            return
        self.best = {key: value.detach().cpu().clone() for key, value in pl_module.evaluated.state_dict().items()}
        self.best_epoch = len(pl_module.history)
        name = BEST if _is_whole(trainer) else CUT_SHORT
        if is_first_process():
            self._write(name, lambda path: torch.save({"state_dict": self.best}, path))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Write what a resumed training starts from; all processes take part in it, the first one writes."""
        if _is_whole(trainer):
            self._write(LAST, trainer.save_checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """For `last.ckpt`."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From `last.ckpt`."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def _write(self, name: str, save: Callable[[Path], None]) -> None:
        path = self.folder / name
        partial = path.with_suffix(".partial")
        with told_to_make_room(path):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                save(partial)
                if is_first_process():
                    partial.replace(path)
            except (OSError, RuntimeError):
                partial.unlink(missing_ok=True)
                raise


def _is_whole(trainer: pl.Trainer) -> bool:
    """Whether the epoch has seen all its batches."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)
