"""Forms batches across concurrent requests, and sees to it that nobody hurts anybody.

A batch is what waits when the backend becomes free: while a run lasts, the next batch gathers by itself, so that a busy
server batches much and an idle one answers at once. `max_delay_seconds` waits longer on purpose.

- The line is bounded in rows; a request that does not fit is refused at the door. Callers whose inputs are still being
  decoded hold their seats already.
- The earliest deadline goes first, among those of one priority. A caller is told when its deadline passes, to the
  timer's precision, also while the backend is busy; rows of cancelled and expired callers are dropped before compute.
- A request of more rows than a batch may have is answered over several batches and joined again: the caller should not
  need to know how large a batch the server likes. The servicers limit the items of a request.
- Only rows of equal shapes, types and wanted outputs are stacked.
- Where a batch of several requests fails, each is run again alone, so that a bad one fails by itself.
- Where a batch needs more memory than there is, its halves are run, and batches stay that small for a while.
- Several runs may be under way at a time; each takes its own batch from the one line.

Knows neither gRPC nor ONNX Runtime.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from typing import Any

from service.backend.contract import Tensors
from service.batching.door import Door, Seats
from service.batching.runs import Compute, Runs
from service.batching.waiting_line import Request, Slice, WaitingLine
from service.errors import DeadlineExpiredError, DrainingError, InferenceError, ServiceError
from service.telemetry.model_metrics import ModelMetrics

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
"""A request without a deadline is ordered as if it had this one, so that those with deadlines cannot starve it."""
_CANCEL_SLACK_SECONDS = 0.01
"""gRPC cancels a call at its deadline, which can be this much before our own timer; it counts as expired."""


class Batcher:
    """Batches for one model. Belongs to the event loop that it is made in."""

    def __init__(
        self,
        compute: Compute,
        metrics: ModelMetrics,
        *,
        max_batch_rows: int,
        max_queue_rows: int,
        max_delay_seconds: float = 0.0,
        max_runs: int = 1,
        spare_runs: int = 0,
    ) -> None:
        """Start the worker.

        Args:
            compute: runs a batch; `max_runs + spare_runs` calls at a time.
            metrics: counts what happens.
            max_batch_rows: rows that a run may have; 0: the model has no batch axis, every request is a run of its own
                and counts as one row.
            max_queue_rows: rows that may wait, those not decoded yet included.
            max_delay_seconds: how long the first request of a batch may wait for more, while the backend is free.
            max_runs: runs that may be under way at a time.
            spare_runs: runs that may be under way beside those, of full batches only.
        """
        assert max_batch_rows >= 0, "the settings check this"
        assert max_queue_rows >= 1, "the settings check this"
        self._metrics = metrics
        self._max_batch_rows = max_batch_rows
        self._max_delay_seconds = max_delay_seconds
        self._line = WaitingLine()
        self._runs = Runs(compute, self._line, metrics, max_batch_rows=max_batch_rows)
        workers = [self._work] * max_runs + [self._work_full_batches] * spare_runs
        self._door = Door(
            self._line,
            metrics,
            max_rows=max_queue_rows,
            seconds_per_row=lambda: self._runs.seconds_per_row / len(workers),
        )
        self._numbers = itertools.count()
        self._arrival = asyncio.Event()
        self._full = asyncio.Event()
        """Set when there are the rows of a whole batch."""
        self._stopped = False
        self._workers = [asyncio.create_task(self._guard(work)) for work in workers]

    async def submit(
        self,
        inputs: Tensors,
        outputs: Sequence[str] = (),
        *,
        deadline: float | None = None,
        priority: int = 0,
        seats: Seats | None = None,
        counted: bool = True,
    ) -> Tensors:
        """Run the model on the rows of one request.

        Args:
            inputs: tensors with as many rows each.
            outputs: the outputs that are wanted; empty: all.
            deadline: time of the event loop at which the caller stops waiting.
            priority: a smaller one goes first, whatever the deadlines.
            counted: whether it is a request of somebody; False: a probe of the server's own.
            seats: those that were held for these rows; None: take some now.

        Returns:
            The outputs, with the rows of the inputs.

        Raises:
            QueueFullError, DrainingError: as `hold`.
            DeadlineExpiredError: the deadline passed.
            InferenceError: the model failed on this input.
        """
        if seats is None:
            with self.hold(len(next(iter(inputs.values()))) if self._max_batch_rows else 1) as seats:
                return await self._answer(seats, inputs, tuple(outputs), deadline, priority, counted)
        return await self._answer(seats, inputs, tuple(outputs), deadline, priority, counted)

    def hold(self, rows: int) -> Seats:
        """Take seats in the line while the inputs are being prepared; what is not used is given back.

        Raises:
            QueueFullError, DrainingError: as `Door.admit`.
        """
        return self._door.admit(rows if self._max_batch_rows else 1)

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for compute, those not decoded yet included."""
        return self._door.waiting_rows

    @property
    def alone(self) -> bool:
        """Whether there is one request at most, the one that is being run included."""
        return len(self._door.seats) <= 1

    def check_requests(self, limit: int, priority: int) -> None:
        """Refuse a request at the door, where as many of its priority wait as may; raises QueueFullError."""
        self._door.check_requests(limit, priority)

    async def drained(self) -> None:
        """Wait until nobody is here; new requests are still let in."""
        await self._door.drained()

    async def close(self, timeout_seconds: float = 0.0) -> None:
        """Refuse new requests, finish those that are here, and fail with DrainingError what is not done in time."""
        self._door.refusal = self._door.refusal or DrainingError
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._door.drained()
        for worker in self._workers:
            worker.cancel()
        await asyncio.wait(self._workers)
        self._stop()

    def _stop(self) -> None:
        """Answer everybody who is still here; nobody may hang."""
        self._stopped = True
        for seats in self._door.seats:
            if seats.request:
                self._line.remove(seats.request)
                seats.request.fail(self._refusal())

    def _refusal(self) -> ServiceError:
        refusal = self._door.refusal
        assert refusal, "the door is shut first"
        return refusal()

    async def _answer(
        self,
        seats: Seats,
        inputs: Tensors,
        outputs: tuple[str, ...],
        deadline: float | None,
        priority: int,
        counted: bool,
    ) -> Tensors:
        assert not seats.used, "one submission per hold"
        loop = asyncio.get_running_loop()
        if self._stopped:
            raise self._refusal()
        if deadline is not None and deadline <= loop.time():
            self._metrics.dropped("expired")
            raise DeadlineExpiredError
        request = self._enter(seats, inputs, outputs, deadline, priority)
        request.counted = counted
        timer = None if deadline is None else loop.call_at(deadline, self._expire, request)
        try:
            answer = await request.answer
            if counted:
                self._metrics.answered(request.rows, request.queue_seconds, request.run_seconds)
            return answer
        except asyncio.CancelledError:
            late = deadline is not None and loop.time() >= deadline - _CANCEL_SLACK_SECONDS
            self._drop(request, "expired" if late else "cancelled")
            raise
        finally:
            if timer:
                timer.cancel()

    def _enter(
        self, seats: Seats, inputs: Tensors, outputs: tuple[str, ...], deadline: float | None, priority: int
    ) -> Request:
        """Put a request into the line, on its seats."""
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        order = (priority, arrived + PATIENCE_SECONDS if deadline is None else deadline, next(self._numbers))
        lane = _lane(inputs, outputs) if self._max_batch_rows else order
        request = seats.request = Request(inputs, seats.rows, outputs, lane, order, arrived, loop.create_future())
        self._door.give_back(seats)
        self._line.add(request)
        self._metrics.queued(self._door.waiting_rows)
        self._arrival.set()
        if self._line.rows >= self._runs.room:
            self._full.set()
        return request

    def _expire(self, request: Request) -> None:
        self._drop(request, "expired")
        request.fail(DeadlineExpiredError())

    def _drop(self, request: Request, reason: str) -> None:
        if self._line.remove(request):
            self._metrics.dropped(reason)
            self._metrics.queued(self._door.waiting_rows)

    async def _work(self) -> None:
        while True:
            await self._arrival.wait()
            while self._line:
                await self._linger()
                await self._run_next()
            self._arrival.clear()

    async def _work_full_batches(self) -> None:
        """Help where there is more to do than the others can: smaller batches cost more for each row."""
        while True:
            await self._full.wait()
            self._full.clear()
            while self._line.rows >= self._runs.room:
                await self._run_next()

    async def _guard(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as exc:
            log.exception("the batcher stopped. This is a bug.")
            text = f"the batcher stopped: {exc!r}"
            self._door.refusal = lambda: InferenceError(text)
            self._stop()

    async def _linger(self) -> None:
        """Wait for more rows, no longer than the first request may, and not where it is in a hurry."""
        loop = asyncio.get_running_loop()
        while self._max_delay_seconds and self._line:
            first = self._line.first()
            end = min(first.arrived + self._max_delay_seconds, first.order[1] - self._max_delay_seconds)
            if loop.time() >= end or self._line.rows_beside(first) >= self._max_batch_rows:
                return
            self._arrival.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await self._arrival.wait()

    async def _run_next(self) -> None:
        if not self._line:  # all left while lingering
            return
        room = self._runs.room
        batch = self._line.take(room)
        if self._line:  # another run can begin meanwhile
            self._arrival.set()
        now = asyncio.get_running_loop().time()
        for item in batch:
            if item.start == 0:
                item.request.queue_seconds = now - item.request.arrived
                self._metrics.phase("queue", item.request.queue_seconds)
        self._metrics.queued(self._door.waiting_rows)
        self._metrics.cut(self._why(batch, room, now), now - min(item.request.arrived for item in batch))
        await self._runs.run(batch)

    def _why(self, batch: Sequence[Slice], room: int, now: float) -> str:
        """Why the batch has no more rows."""
        if sum(item.rows for item in batch) >= room:
            return "full"
        if self._line:
            return "shape"
        if not self._max_delay_seconds:
            return "idle"
        return "deadline" if now >= batch[0].request.order[1] - self._max_delay_seconds else "delay"


def _lane(inputs: Tensors, outputs: tuple[str, ...]) -> Hashable:
    """What must be equal for requests to share a batch."""
    shapes = tuple((name, value.dtype, value.shape[1:]) for name, value in sorted(inputs.items()))
    return shapes, outputs
