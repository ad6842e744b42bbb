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
- Several runs may be under way at a time; each takes its own batch from the one line, or a share of it where smaller
  batches are as good.

Knows neither gRPC nor ONNX Runtime.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Hashable, Sequence
from contextlib import suppress

from service.backend.contract import Tensors
from service.batching.door import Door, Seats
from service.batching.rules import BatchRules
from service.batching.runs import Compute, Runs
from service.batching.waiting_line import Request, WaitingLine
from service.batching.workers import Workers
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
        rules: BatchRules,
        *,
        max_queue_rows: int,
        max_queue_seconds: float = math.inf,
    ) -> None:
        """Start to work.

        Args:
            compute: runs a batch; so many calls at a time as there may be runs.
            metrics: counts what happens.
            rules: how batches are cut.
            max_queue_rows: rows that may wait, those not decoded yet included.
            max_queue_seconds: that those may take; a request that comes when nobody waits is let in in any case.
        """
        assert max_queue_rows >= 1, "the settings check this"
        self._metrics = metrics
        self._batched = rules.max_rows > 0
        self._line = WaitingLine()
        self._runs = Runs(compute, self._line, metrics, max_batch_rows=rules.max_rows, row_seconds=rules.row_seconds)
        self._door = Door(
            self._line,
            metrics,
            max_rows=max_queue_rows,
            max_seconds=max_queue_seconds,
            seconds_per_row=lambda: self._runs.seconds_per_row / (rules.runs + rules.spare_runs),
        )
        self._workers = Workers(self._line, self._door, self._runs, metrics, rules, failed=self._fail)
        self._numbers = itertools.count()
        self._stopped = False

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
            with self.hold(len(next(iter(inputs.values()))) if self._batched else 1) as seats:
                return await self._answer(seats, inputs, tuple(outputs), deadline, priority, counted)
        return await self._answer(seats, inputs, tuple(outputs), deadline, priority, counted)

    def hold(self, rows: int) -> Seats:
        """Take seats in the line while the inputs are being prepared; what is not used is given back.

        Raises:
            QueueFullError, DrainingError: as `Door.admit`.
        """
        return self._door.admit(rows if self._batched else 1)

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
        await self._workers.stop()
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
        lane = _lane(inputs, outputs) if self._batched else order
        request = seats.request = Request(inputs, seats.rows, outputs, lane, order, arrived, loop.create_future())
        self._door.give_back(seats)
        self._line.add(request)
        self._metrics.queued(self._door.waiting_rows)
        self._workers.wake()
        return request

    def _expire(self, request: Request) -> None:
        self._drop(request, "expired")
        request.fail(DeadlineExpiredError())

    def _drop(self, request: Request, reason: str) -> None:
        if self._line.remove(request):
            self._metrics.dropped(reason)
            self._metrics.queued(self._door.waiting_rows)

    def _fail(self, exc: Exception) -> None:
        log.error("the batcher stopped. This is a bug.", exc_info=exc)
        text = f"the batcher stopped: {exc!r}"
        self._door.refusal = lambda: InferenceError(text)
        self._stop()


def _lane(inputs: Tensors, outputs: tuple[str, ...]) -> Hashable:
    """What must be equal for requests to share a batch."""
    shapes = tuple((name, value.dtype, value.shape[1:]) for name, value in sorted(inputs.items()))
    return shapes, outputs
