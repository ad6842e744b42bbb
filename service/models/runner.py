"""Runs a model in threads of its own, or in the event loop where that is over before a thread could have begun."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from service.backend.contract import Tensors
from service.batching.runs import Computed
from service.batching.waiting_line import stack
from service.models.loading import LoadedModel
from service.models.pace import LonePace


class Runner:
    """What stacks the rows of a batch and runs them. Belongs to one event loop."""

    def __init__(self, name: str, loaded: LoadedModel, threads: int) -> None:
        """Open `threads` threads at most, called by `name`; that many runs there may be at a time."""
        self._backend = loaded.backend
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._pace = LonePace(_seconds_per_byte(loaded))

    async def run(self, parts: Sequence[Tensors], outputs: Sequence[str], *, alone: bool) -> Computed:
        """Run the graph once.

        Args:
            parts: the rows of the requests of a batch.
            outputs: those that are wanted; empty: all.
            alone: whether nobody else is there, who would have to wait while the loop itself runs the model.

        Raises:
            InferenceError: as `Backend.run`.
        """
        asked = perf_counter()

        def run() -> Computed:
            start = perf_counter()
            inputs = stack(parts)
            stacked = perf_counter()
            return Computed(self._backend.run(inputs, outputs), start - asked, stacked - start)

        if alone and len(parts) == 1:
            return await self._run_alone(run, _size(parts[0]))
        return await self._in_thread(run)

    async def _run_alone(self, run: Callable[[], Computed], size: int) -> Computed:
        def timed() -> Computed:
            start = perf_counter()
            ran = run()
            self._pace.took(size, perf_counter() - start)
            return ran

        return timed() if self._pace.is_instant(size) else await self._in_thread(timed)

    async def _in_thread(self, run: Callable[[], Computed]) -> Computed:
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def close(self) -> None:
        """Give memory back; a run that is under way is the last one."""
        self._backend.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _size(tensors: Tensors) -> int:
    """Bytes of numbers, and characters of text."""
    values = tensors.values()
    return sum(len("".join(value.ravel().tolist())) if value.dtype.kind == "O" else value.nbytes for value in values)


def _seconds_per_byte(loaded: LoadedModel) -> float:
    """By how much a run is longer where the inputs are larger. Of a model without a card nobody knows: it may have
    loops. On a GPU it waits for the runs of others, and the copies of several overlap in threads of their own."""
    if loaded.card is None or loaded.probe is None or loaded.backend.device.kind != "cpu":
        return math.inf
    return loaded.row_seconds / max(_size(loaded.probe), 1)
