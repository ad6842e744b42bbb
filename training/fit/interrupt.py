"""Ctrl-C in a training: the first one stops it and keeps what was learnt, the second one aborts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as pl
from rich.console import Console


@contextmanager
def stop_on_interrupt(trainer: pl.Trainer, interrupted: threading.Event, console: Console) -> Iterator[None]:
    """Within, the first Ctrl-C asks the trainer to stop after the current batch; the second is the usual one."""
    owner = os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
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
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
