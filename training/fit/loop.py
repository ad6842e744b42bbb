"""The training loop: Lightning's Trainer with early stopping, the best checkpoint, and Ctrl-C that keeps the best."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import rich
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import Metric

from training.errors import SettingsError
from training.fit.module import FitModule, ParameterGroup
from training.settings import FitSettings


@dataclass(frozen=True)
class FitResult:
    """How a training went. The model that was trained has the weights of the best epoch."""

    best_epoch: int
    """Counted from 1."""
    best_score: float
    """Validation metric of that epoch."""
    epochs: int
    """Epochs that were run."""
    interrupted: bool
    """Ctrl-C ended it."""
    seconds: float
    history: tuple[dict[str, float], ...]
    """Per epoch: epoch, train_loss, validation_loss, score."""


def fit(
    model: nn.Module,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    settings: FitSettings,
    *,
    loss: Callable[[Any, Tensor], Tensor],
    metric: Metric,
    run_folder: Path,
    mode: Literal["max", "min"] = "max",
    groups: Sequence[ParameterGroup] | None = None,
    console: Console | None = None,
) -> FitResult:
    """Train `model` in place and leave it on the CPU, in evaluation mode, with the weights of its best epoch.

    A batch is `(inputs, target)`; the model is called with `inputs`, or with `*inputs` where that is a tuple or list.
    Modules that are in evaluation mode when this is called (frozen batch norm) stay in it, so call `model.train()`
    before. The first Ctrl-C ends the training after the current batch and one more validation; a second one aborts.

    Args:
        model: what to train; parameters with `requires_grad=False` are left alone.
        train: training batches.
        validation: validation batches.
        settings: of the loop.
        loss: from the model's output and the target to a scalar.
        metric: takes (output, target) of the validation batches; its value decides which epoch is best.
        run_folder: for `metrics.csv` and the best checkpoint.
        mode: whether a higher or a lower metric is better.
        groups: parameter groups with rates of their own; default: `parameter_groups` of the whole model.
        console: for progress; default: standard error.

    Raises:
        FitError: the loss is not finite.
        SettingsError: the device does not exist.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("there is no CUDA device that torch can use; pass --device cpu, or auto")
    console = console or Console(stderr=True)
    with_bar = console.is_terminal
    if with_bar:
        console = rich.get_console()  # that of Lightning's bar, so that lines appear above it
    module = FitModule(
        model, loss, metric, settings, groups or parameter_groups(model.parameters(), settings), mode, console
    )
    checkpoint = ModelCheckpoint(run_folder, "best", "score", mode=mode, save_weights_only=True)
    stopping = EarlyStopping("score", mode=mode, patience=settings.patience)
    start = time.monotonic()
    with _quiet_lightning():
        trainer = _make_trainer(settings, run_folder, [checkpoint, stopping], with_bar)
        with _stop_on_interrupt(trainer, console) as interrupted:
            trainer.fit(module, train, validation)
    if not module.history:
        raise KeyboardInterrupt  # before there was anything to keep
    module.cpu()
    module.load_state_dict(torch.load(checkpoint.best_model_path, weights_only=True, map_location="cpu")["state_dict"])
    model.eval()
    best = (max if mode == "max" else min)(module.history, key=lambda row: row["score"])
    return FitResult(
        best_epoch=int(best["epoch"]),
        best_score=best["score"],
        epochs=len(module.history),
        interrupted=interrupted.is_set(),
        seconds=time.monotonic() - start,
        history=tuple(module.history),
    )


def parameter_groups(
    parameters: Iterable[nn.Parameter], settings: FitSettings, *, rate_factor: float = 1.0
) -> list[ParameterGroup]:
    """Trainable parameters in two groups: matrices and filters with weight decay; biases and norms without."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    rate = settings.learning_rate * rate_factor
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "lr": rate, "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_run_folder(runs: Path, name: str) -> Path:
    """A new folder `<runs>/<name>/<time>`, with a number behind it where two runs start in one second."""
    base = runs / name / datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError(f"1000 runs started in one second in {base.parent}. This is a bug.")


def _make_trainer(settings: FitSettings, folder: Path, callbacks: list[Callback], with_bar: bool) -> pl.Trainer:
    bar = [RichProgressBar(leave=False, console_kwargs={"stderr": True})] if with_bar else []
    return pl.Trainer(
        max_epochs=settings.epochs,
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[settings.device],
        devices=1,
        precision=settings.precision,
        gradient_clip_val=settings.clip_norm,
        callbacks=[*callbacks, *bar],
        logger=CSVLogger(folder, name="", version=""),
        enable_progress_bar=bool(bar),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


@contextmanager
def _stop_on_interrupt(trainer: pl.Trainer, console: Console) -> Iterator[threading.Event]:
    """Within, the first Ctrl-C asks the trainer to stop after the current batch; the second is the usual one."""
    interrupted = threading.Event()
    owner = os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals reach the main thread only
        return

    def stop(_signum: int, _frame: object) -> None:
        if os.getpid() != owner:
            return  # a terminal interrupts the processes that load data, too; these have inherited this function
        interrupted.set()
        trainer.should_stop = True
        signal.signal(signal.SIGINT, previous)
        console.print("stopping: the best model so far is kept; Ctrl-C again aborts", style="bold")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Within, Lightning does not print hardware lists, nor warn about choices that were made on purpose."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated")
            yield
    finally:
        logger.setLevel(level)
