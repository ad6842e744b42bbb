"""What takes batches out of the line and has them run: a task for each run that there may be at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from service.batching.door import Door
from service.batching.rules import BatchRules
from service.batching.runs import Runs
from service.batching.waiting_line import Slice, WaitingLine
from service.telemetry.model_metrics import ModelMetrics


@dataclass(eq=False, slots=True)
class _Run:
    """A batch that is being run."""

    end: float
    """When it will be over, as far as one knows, if runs share the backend evenly. Time of the event loop."""
    alone: bool
    """Whether it has had the backend for itself."""


class Workers:
    """Cuts batches by the rules. Belongs to the event loop that it is made in."""

    def __init__(
        self,
        line: WaitingLine,
        door: Door,
        runs: Runs,
        metrics: ModelMetrics,
        rules: BatchRules,
        *,
        failed: Callable[[Exception], None],
    ) -> None:
        """Start to work.

        Args:
            line: of the requests that wait.
            door: which they came through.
            runs: runs what is cut.
            metrics: counts what happens.
            rules: how to cut.
            failed: told of an error that is a bug; there is no work any more.
        """
        self._line = line
        self._door = door
        self._runs = runs
        self._metrics = metrics
        self._rules = rules
        self._failed = failed
        self._arrival = asyncio.Event()
        self._full = asyncio.Event()
        """Set when there are the rows of a whole batch."""
        self._running: list[_Run] = []
        work = [self._work] * rules.runs + [self._work_full_batches] * rules.spare_runs
        self._tasks = [asyncio.create_task(self._guard(each)) for each in work]

    def wake(self) -> None:
        """A request has come into the line."""
        self._arrival.set()
        if self._line.rows >= self._runs.room:
            self._full.set()

    async def stop(self) -> None:
        """Cut no more, and give up the runs that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _guard(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as exc:
            self._failed(exc)

    async def _work(self) -> None:
        while True:
            await self._arrival.wait()
            while self._line:
                await self._linger()
                await self._give_way()
                await self._run_next()
            self._arrival.clear()

    async def _work_full_batches(self) -> None:
        """Help where there is more to do than the others can: smaller batches cost more for each row."""
        while True:
            await self._full.wait()
            self._full.clear()
            while self._line.rows >= self._runs.room:
                await self._run_next()

    async def _linger(self) -> None:
        """Wait for more rows, no longer than the first request may, and not where it is in a hurry."""
        delay = self._rules.max_delay_seconds
        while delay and self._line:
            first = self._line.first()
            end = min(first.arrived + delay, first.order[1] - delay)
            if _now() >= end or self._line.rows_beside(first) >= self._rules.max_rows:
                return
            await self._sleep_until(end)

    async def _give_way(self) -> None:
        """Wait for a run that is nearly over, where it is the only one: who begins then has the backend for itself."""
        half = self._rules.row_seconds / 2
        while self._rules.side_by_side and len(self._running) == 1:
            (run,) = self._running
            if not 0 < self._line.rows * (run.end - _now()) < half:
                return
            await self._sleep_until(run.end)

    async def _sleep_until(self, end: float) -> None:
        """Until then, or until another request comes."""
        self._arrival.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self._arrival.wait()

    async def _run_next(self) -> None:
        if not self._line:  # all left meanwhile
            return
        room = self._runs.room
        batch = self._line.take(min(room, self._share(room)))
        if self._line:  # another run can begin meanwhile
            self._arrival.set()
        now, rows = _now(), sum(item.rows for item in batch)
        self._note(batch, rows, room, now)
        run = self._begin(rows, now)
        try:
            await self._runs.run(batch)
        finally:
            self._running.remove(run)

    def _begin(self, rows: int, now: float) -> _Run:
        """Note a run that begins, and by how much it slows down the one that had the backend for itself."""
        alone, slowdown = not self._running, self._rules.runs
        for other in self._running:
            if other.alone:
                other.end, other.alone = now + slowdown * (other.end - now), False
        run = _Run(now + rows * self._rules.row_seconds * (1 if alone else slowdown), alone)
        self._running.append(run)
        return run

    def _share(self, room: int) -> int:
        """Rows that are for the next batch."""
        rules, waiting = self._rules, self._line.rows
        if not rules.side_by_side or rules.max_delay_seconds or waiting >= rules.runs * room:
            return waiting
        return math.ceil(waiting / (2 * rules.runs))

    def _note(self, batch: Sequence[Slice], rows: int, room: int, now: float) -> None:
        """Count how long the requests of a batch have waited, and why it has no more rows."""
        for item in batch:
            if item.start == 0:
                item.request.queue_seconds = now - item.request.arrived
                self._metrics.phase("queue", item.request.queue_seconds)
        self._metrics.queued(self._door.waiting_rows)
        why = "full" if rows >= room else self._why(batch, now)
        self._metrics.cut(why, now - min(item.request.arrived for item in batch))

    def _why(self, batch: Sequence[Slice], now: float) -> str:
        """Why a batch that is not full has no more rows."""
        if self._line.waits_beside(batch[0].request):
            return "share"
        if self._line:
            return "shape"
        delay = self._rules.max_delay_seconds
        if not delay:
            return "idle"
        return "deadline" if now >= batch[0].request.order[1] - delay else "delay"


def _now() -> float:
    """Time of the event loop."""
    return asyncio.get_running_loop().time()
