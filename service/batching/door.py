"""The door of a batcher: as many rows may wait as there is room and time for, those that are still being decoded
included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from service.batching.waiting_line import Request, WaitingLine
from service.errors import QueueFullError, ServiceError
from service.telemetry.model_metrics import ModelMetrics

_SHORTEST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.05, 30.0


@dataclass(eq=False, slots=True)
class Seats:
    """Room in the line for one request, from the moment that it is let in until the end of its `with`."""

    door: Door
    rows: int
    used: bool = False
    """Whether the rows are in the line now, or were."""
    request: Request | None = None

    def __enter__(self) -> Seats:
        return self

    def __exit__(self, *error: object) -> None:
        self.door.release(self)


class Door:
    """Lets requests in, and knows who is here. Belongs to one event loop."""

    def __init__(
        self,
        line: WaitingLine,
        metrics: ModelMetrics,
        *,
        max_rows: int,
        max_seconds: float,
        seconds_per_row: Callable[[], float],
    ) -> None:
        """Let requests in.

        Args:
            line: of those whose inputs are ready.
            metrics: counts who is refused.
            max_rows: that may wait.
            max_seconds: that those who wait may take.
            seconds_per_row: how fast the line moves, lately.
        """
        self._line = line
        self._metrics = metrics
        self._max_rows = max_rows
        self._max_seconds = max_seconds
        self._seconds_per_row = seconds_per_row
        self._held_rows = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.seats: set[Seats] = set()
        """Of every request that is here, also while it is being run."""
        self.refusal: Callable[[], ServiceError] | None = None
        """What is said to those who come when the door is shut; None: it is open."""

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for compute, those not decoded yet included."""
        return self._line.rows + self._held_rows

    def admit(self, rows: int) -> Seats:
        """Take seats in the line; what is not used is given back.

        Raises:
            QueueFullError: there is no room; the error says when to try again.
            ServiceError: the door is shut.
        """
        if self.refusal:
            raise self.refusal()
        if (wanted := self.waiting_rows + rows) > rows and wanted > (limit := self._limit()):
            self._metrics.rejected()
            raise QueueFullError(rows, self.waiting_rows, limit, retry_seconds=self._retry_seconds())
        seats = Seats(self, rows)
        self.seats.add(seats)
        self._empty.clear()
        self._hold(rows)
        return seats

    def check_requests(self, limit: int, priority: int) -> None:
        """Refuse a request, where as many of its priority wait as may.

        Raises:
            QueueFullError: the error says when to try again.
        """
        waiting = self._line.requests[priority]
        if waiting >= limit:
            self._metrics.rejected()
            raise QueueFullError(1, waiting, limit, retry_seconds=self._retry_seconds())

    def give_back(self, seats: Seats) -> None:
        """Hold them no longer: their rows are in the line, or will not come."""
        if not seats.used:
            seats.used = True
            self._hold(-seats.rows)

    def release(self, seats: Seats) -> None:
        """Their request is over."""
        self.give_back(seats)
        self.seats.discard(seats)
        if not self.seats:
            self._empty.set()

    async def drained(self) -> None:
        """Wait until nobody is here; new requests are still let in."""
        while self.seats:
            await self._empty.wait()

    def _limit(self) -> int:
        """Rows that may wait, as fast as they go now."""
        return int(min(self._max_rows, self._max_seconds / self._seconds_per_row()))

    def _retry_seconds(self) -> float:
        """When there will be room again, as it goes now."""
        wait = self.waiting_rows * self._seconds_per_row()
        return min(max(wait, _SHORTEST_RETRY_SECONDS), _LONGEST_RETRY_SECONDS)

    def _hold(self, rows: int) -> None:
        self._held_rows += rows
        self._metrics.queued(self.waiting_rows)
