"""Ctrl-C in a training: the first one stops it and keeps what was learnt, the second one aborts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from training.processes import process_count, sum_over_processes


class StopOnInterrupt(Callback):
    """Asks the trainer to stop after the current batch when Ctrl-C has reached this process, or one it trains with.

    Processes wait for each other in every step, so they must stop at the same one, wherever the signal came first: they
    tell each other after each batch.

    Args:
        console: for what the user is told.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._here = self.interrupted = False

    @contextmanager
    def listening(self, trainer: pl.Trainer) -> Iterator[None]:
        """Within, the first Ctrl-C is taken; the second is the usual one."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread only
            return
        owner = os.getpid()

        def take(_signum: int, _frame: object) -> None:
            if os.getpid() != owner:
                return  # a terminal interrupts the processes that load data, too; these have inherited this function
            self._here = True
            if process_count() == 1:
                trainer.should_stop = True  # at once: it may come in the validation of the last epoch
            signal.signal(signal.SIGINT, previous)
            said = "stopping: the best model so far is kept, and --resume can go on; Ctrl-C again aborts"
            self.console.print(said, style="bold", soft_wrap=True)

        previous = signal.signal(signal.SIGINT, take)
        try:
            yield
            self._tell()
        finally:
            signal.signal(signal.SIGINT, previous)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop, if one of the processes was asked to."""
        self._tell()
        if self.interrupted:
            trainer.should_stop = True

    def _tell(self) -> None:
        self.interrupted = sum_over_processes(self._here)[0] > 0
