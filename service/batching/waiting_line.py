"""The line of requests that wait for the backend: earliest deadline first, rows cut off its front as a batch.

Pure bookkeeping without clocks or tasks; `service.batching.batcher` is what moves it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter

import numpy as np

from service.backend.contract import Tensors
from service.telemetry.statistics import RunSeconds

_order = attrgetter("order")


@dataclass(eq=False, slots=True)
class Request:
    """A question on its way, and the future that its caller waits for."""

    inputs: Tensors
    rows: int
    outputs: tuple[str, ...]
    lane: Hashable
    """Only requests of the same lane may share a batch."""
    order: tuple[int, float, int]
    """Priority, deadline, number of arrival: the smallest goes first."""
    arrived: float
    """Time of the event loop."""
    answer: asyncio.Future[Tensors]
    counted: bool = True
    """Whether somebody asked; the server's own probes are left out of the statistics."""
    queue_seconds: float = 0.0
    """From its arrival to the first run with one of its rows."""
    run_seconds: RunSeconds = field(default_factory=RunSeconds)
    """The runs that it took part in, each as long as it was."""
    taken: int = 0
    """Rows that were cut off for a batch."""
    parts: dict[int, Tensors] = field(default_factory=dict)
    """Answers so far, by their first row: runs may end in another order than they began."""
    answered: int = 0
    """Rows with an answer."""

    @property
    def left(self) -> int:
        """Rows that still wait."""
        return self.rows - self.taken

    def receive(self, rows: Slice, part: Tensors) -> None:
        """Take the answer to some rows; the last one wakes the caller."""
        self.parts[rows.start] = part
        self.answered += rows.rows
        if self.answered == self.rows and not self.answer.done():
            self.answer.set_result(stack([part for _, part in sorted(self.parts.items(), key=itemgetter(0))]))

    def fail(self, error: Exception) -> None:
        """Wake the caller with an error, unless there is an outcome already."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows of one request that go into a batch."""

    request: Request
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.stop - self.start

    @property
    def inputs(self) -> Tensors:
        """The rows; a view, or all inputs as they are where the request is not cut."""
        if self.rows == self.request.rows:
            return self.request.inputs
        return {name: value[self.start : self.stop] for name, value in self.request.inputs.items()}


class WaitingLine:
    """Requests by lane, each lane in order. Adding, removing and taking cost a binary search."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, list[Request]] = {}
        self.rows = 0
        """Rows that wait."""
        self.requests: Counter[int] = Counter()
        """Requests that wait, by priority."""

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def add(self, request: Request) -> None:
        """Put a request in its place."""
        insort(self._lanes.setdefault(request.lane, []), request, key=_order)
        self.rows += request.left
        self.requests[request.order[0]] += 1

    def remove(self, request: Request) -> bool:
        """Drop a request with the rows that it still has here; False: it has none."""
        lane = self._lanes.get(request.lane, [])
        place = bisect_left(lane, request.order, key=_order)
        if place == len(lane) or lane[place] is not request:
            return False
        self._cut(request.lane, place, place + 1)
        self.rows -= request.left
        return True

    def first(self) -> Request:
        """The request that goes first."""
        return min((lane[0] for lane in self._lanes.values()), key=_order)

    def waits_beside(self, request: Request) -> bool:
        """Whether somebody waits who could share a batch with a request."""
        return request.lane in self._lanes

    def rows_beside(self, request: Request) -> int:
        """Rows that could share a batch with a request of this line, its own included."""
        return sum(other.left for other in self._lanes[request.lane])

    def take(self, max_rows: int) -> list[Slice]:
        """Cut off the next batch: from the first request on, through its lane. The last one may be taken in part, so
        that every batch is as full as it can be; the rest of it goes with the next."""
        key = self.first().lane
        lane, batch, room, done = self._lanes[key], [], max_rows, 0
        for request in lane:
            rows = min(request.left, room)
            batch.append(Slice(request, request.taken, request.taken + rows))
            request.taken += rows
            room -= rows
            done += request.left == 0
            if room == 0:
                break
        self._cut(key, 0, done)
        self.rows -= max_rows - room
        return batch

    def _cut(self, key: Hashable, start: int, stop: int) -> None:
        lane = self._lanes[key]
        self.requests.subtract(request.order[0] for request in lane[start:stop])
        del lane[start:stop]
        if not lane:
            del self._lanes[key]


def halve(batch: Sequence[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Two batches of about as many rows each; a request may be cut."""
    room = sum(item.rows for item in batch) // 2
    first: list[Slice] = []
    second: list[Slice] = []
    for item in batch:
        middle = item.start + min(item.rows, room)
        room -= middle - item.start
        first += [Slice(item.request, item.start, middle)] if middle > item.start else []
        second += [Slice(item.request, middle, item.stop)] if middle < item.stop else []
    return first, second


def stack(parts: Sequence[Tensors]) -> Tensors:
    """Join tensors along the batch axis."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split(tensors: Tensors, rows: Iterable[int]) -> list[Tensors]:
    """Undo `stack`: cut tensors into parts of so many rows, without copying."""
    parts, start = [], 0
    for count in rows:
        parts.append({name: value[start : start + count] for name, value in tensors.items()})
        start += count
    return parts
