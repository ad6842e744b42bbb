"""The training loop: Lightning's Trainer with early stopping, checkpoints, resuming, and Ctrl-C that keeps the best."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import rich
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import Metric

from training.data.order import set_epoch
from training.data.sharing import share_evaluation, share_training
from training.errors import SettingsError
from training.files import write_whole
from training.fit.checkpoints import BEST, CUT_SHORT, LAST, EpochCheckpoints
from training.fit.disk import told_to_make_room
from training.fit.interrupt import StopOnInterrupt
from training.fit.module import AfterEpoch, FitModule, Prepare
from training.fit.optimizer import ParameterGroup, parameter_groups
from training.fit.rates import RATES_FIGURE, RangeTest, find_rate, with_rate
from training.processes import is_first_process, join_processes, process_count, process_rank, processes_here
from training.saying import say
from training.settings import FitSettings

RESULT_FILE = "result.json"


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
    """Per epoch: epoch, train_loss, validation_loss, score, learning_rate, seconds."""


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
    prepare: Prepare | None = None,
    resume: bool = False,
    after_epoch: AfterEpoch | None = None,
    console: Console | None = None,
) -> FitResult:
    """Train `model` in place and leave it on the CPU, in evaluation mode, with the weights of its best epoch.

    A batch is `(inputs, target)`; the model is called with `inputs`, or with `*inputs` where that is a tuple or list.
    Modules that are in evaluation mode when this is called (frozen batch norm) stay in it, so call `model.train()`
    before. The first Ctrl-C ends the training after the current batch and one more validation; a second one aborts.
    Under torchrun the processes share every batch, and the validation; the first one writes. There it is enough that
    Ctrl-C reaches one of them.

    Args:
        model: what to train; parameters with `requires_grad=False` are left alone.
        train: training batches.
        validation: validation batches.
        settings: of the loop.
        loss: from the model's output and the target to a scalar.
        metric: takes (output, target) of the validation batches; its value decides which epoch is best.
        run_folder: for `metrics.csv`, TensorBoard's log and the checkpoints (see `training.fit.checkpoints`).
        mode: whether a higher or a lower metric is better.
        groups: parameter groups with rates of their own; default: `parameter_groups` of the whole model.
        prepare: done to each training batch on its device, `(inputs, target) -> (inputs, target)`.
        resume: go on where the training in `run_folder` stopped: with the same model, data and settings the weights
            will be those of a training that never stopped.
        after_epoch: told the `history` after each whole epoch; what it raises ends the training.
        console: for progress; default: standard error.

    Raises:
        FitError: the loss is not finite, or a checkpoint cannot be written.
        SettingsError: the device does not exist, or there is too little for so many processes.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("there is no CUDA device that torch can use; pass --device cpu, or auto")
    if settings.find_rate and process_count() > 1:
        raise SettingsError("find_rate works in one process; find the rate in one, then give it as learning_rate")
    finished = run_folder / RESULT_FILE
    if resume and finished.is_file():
        return _restore(model, run_folder)
    console = console or Console(stderr=True)
    if process_count() > 1:
        join_processes()
        train, validation = _share(train, validation)
    with_bar = console.is_terminal and is_first_process()
    if with_bar:
        console = rich.get_console()  # that of Lightning's bar, so that lines appear above it
    groups = groups or parameter_groups(model.parameters(), settings)
    if settings.find_rate:
        test = RangeTest(model, loss, metric, settings, groups, mode, prepare, run_folder, console)
        settings, groups = _at_found_rate(test, train)
    module = FitModule(model, loss, metric, settings, groups, mode, prepare, run_folder, console, after_epoch)
    checkpoints = EpochCheckpoints(run_folder)
    stopping = EarlyStopping("score", mode=mode, patience=settings.patience)
    last = run_folder / LAST if resume and (run_folder / LAST).is_file() else None
    if is_first_process():
        (run_folder / CUT_SHORT).unlink(missing_ok=True)  # of the training before, which this one does not go on with
    set_epoch(train, _epochs_done(last))  # workers fetch the first batches before the trainer tells them the epoch
    interrupt = StopOnInterrupt(console)
    with _quiet_lightning():
        trainer = _make_trainer(settings, run_folder, [stopping, checkpoints, interrupt], with_bar)
        with interrupt.listening(trainer):
            trainer.fit(module, train, validation, ckpt_path=last, weights_only=True)
    if not module.history:
        raise KeyboardInterrupt  # before there was anything to keep
    module.cpu()
    model.load_state_dict(checkpoints.best)
    model.eval()
    result = _describe(module, interrupt.interrupted)
    if not result.interrupted and is_first_process():
        with told_to_make_room(finished):
            write_whole(finished, json.dumps(asdict(result), indent=2))
    return result


def _at_found_rate(test: RangeTest, train: DataLoader[Any]) -> tuple[FitSettings, Sequence[ParameterGroup]]:
    """Settings and parameter groups with the learning rate that the test finds."""
    settings = test.settings
    with _quiet_lightning():
        found = find_rate(test, train, _machine(settings))
    said = f"learning rate {settings.learning_rate:g} kept: the loss falls at no other"
    if found is not None:
        said = f"learning rate {found:.2g}, where the loss falls fastest, instead of {settings.learning_rate:g}"
    say(test.console, f"{said}; see {test.run_folder / RATES_FIGURE}")
    if found is None:
        return settings, test.groups
    factor = found / settings.learning_rate
    return settings.model_copy(update={"learning_rate": found}), with_rate(test.groups, factor)


def _share(train: DataLoader[Any], validation: DataLoader[Any]) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """The part of both that this process takes."""
    rank, count = process_rank(), process_count()
    return share_training(train, rank, count), share_evaluation(validation, rank, count)


def _describe(module: FitModule, interrupted: bool) -> FitResult:
    best = module.history[module.best_epoch() - 1]
    return FitResult(
        best_epoch=int(best["epoch"]),
        best_score=best["score"],
        epochs=len(module.history),
        interrupted=interrupted,
        seconds=sum(row["seconds"] for row in module.history),
        history=tuple(module.history),
    )


def _restore(model: nn.Module, run_folder: Path) -> FitResult:
    """The end of a training that was finished before."""
    model.load_state_dict(torch.load(run_folder / BEST, weights_only=True, map_location="cpu")["state_dict"])
    model.eval()
    values = json.loads((run_folder / RESULT_FILE).read_text(encoding="utf-8"))
    return FitResult(**values | {"history": tuple(values["history"])})


def _epochs_done(checkpoint: Path | None) -> int:
    if checkpoint is None:
        return 0
    return len(torch.load(checkpoint, weights_only=True, map_location="cpu")["history"])


def _make_trainer(settings: FitSettings, folder: Path, callbacks: list[Callback], with_bar: bool) -> pl.Trainer:
    bar = [RichProgressBar(leave=False, console_kwargs={"stderr": True})] if with_bar else []
    return pl.Trainer(
        **_machine(settings),
        max_epochs=settings.epochs,
        callbacks=[*callbacks, *bar],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        enable_progress_bar=bool(bar),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def _machine(settings: FitSettings) -> dict[str, Any]:
    """What computes the steps of a trainer, and how."""
    together: dict[str, Any] = {"devices": 1}
    if process_count() > 1:
        nodes = process_count() // processes_here()
        together = {"devices": processes_here(), "num_nodes": nodes, "strategy": "ddp"}
        together["plugins"] = [TorchElasticEnvironment()]
    return {
        **together,
        "accelerator": {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[settings.device],
        "use_distributed_sampler": False,
        "precision": settings.precision,
        "gradient_clip_val": settings.clip_norm,
    }


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
            warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")
            warnings.filterwarnings(
                "ignore", message=".*sync_dist=True.*"
            )  # what is logged is of all processes already
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated")
            yield
    finally:
        logger.setLevel(level)
