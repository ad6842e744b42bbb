"""Runs batches, and sees to it that a bad request fails by itself.

Knows neither gRPC nor ONNX Runtime.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from service.backend.contract import Tensors
from service.batching.waiting_line import Request, Slice, WaitingLine, halve, split
from service.errors import InferenceError, OutOfMemoryError, ServiceError
from service.telemetry.model_metrics import ModelMetrics
from service.telemetry.statistics import RunSeconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Computed:
    """What a run gave."""

    outputs: Tensors
    """With the rows of all parts in order."""
    wait_seconds: float = 0.0
    """Until a thread was free."""
    stack_seconds: float = 0.0
    """That joining the parts took."""


Compute = Callable[[Sequence[Tensors], Sequence[str]], Awaitable[Computed]]
"""Stacks the parts and runs them once: (parts, wanted outputs) -> what came of it."""
RECOVERY_RUNS = 100
"""Good runs after which batches may have twice as many rows again, after one was too large for the memory."""


class Runs:
    """The runs of one model, any number at a time."""

    def __init__(
        self, compute: Compute, line: WaitingLine, metrics: ModelMetrics, *, max_batch_rows: int, row_seconds: float
    ) -> None:
        """Take what runs batches, the line that what fails is taken from, and two of the `BatchRules`."""
        self._compute = compute
        self._line = line
        self._metrics = metrics
        self._max_batch_rows = max_batch_rows
        self.room = max_batch_rows or 1
        """Rows that a run may have now: fewer for a while, after one needed more memory than there was."""
        self.seconds_per_row = row_seconds
        """What a row takes, lately."""
        self._good_runs = 0

    async def run(self, batch: Sequence[Slice]) -> None:
        """Run a batch, and answer its requests, one way or another."""
        try:
            parts = await self._compute_parts(batch)
        except (OutOfMemoryError, MemoryError) as exc:
            await self._run_smaller(batch, exc)
            return
        except Exception as exc:
            if len(batch) == 1:
                self._fail(batch[0].request, exc)
                return
            self._metrics.retried()
            for item in batch:
                if not item.request.answer.done():
                    await self.run([item])
            return
        self._grow()
        for item, part in zip(batch, parts, strict=True):
            try:
                item.request.receive(item, part)
            except ValueError as exc:  # parts whose other axes differ cannot be joined
                self._fail(item.request, exc)

    async def _run_smaller(self, batch: Sequence[Slice], exc: Exception) -> None:
        """Run the halves of a batch that did not fit into memory; a single row that does not fit fails."""
        rows = sum(item.rows for item in batch)
        if rows == 1 or not self._max_batch_rows:
            self._fail(batch[0].request, exc)
            return
        self.room, self._good_runs = min(self.room, max(rows // 2, 1)), 0
        self._metrics.retried()
        log.warning("a batch of %d rows needs more memory than there is; at most %d from now on", rows, self.room)
        for half in halve(batch):
            wanted = [item for item in half if not item.request.answer.done()]
            if wanted:
                await self.run(wanted)

    def _grow(self) -> None:
        """Try larger batches again, once smaller ones have worked for a while."""
        self._good_runs += 1
        if self._good_runs >= RECOVERY_RUNS and self.room < self._max_batch_rows:
            self.room, self._good_runs = min(2 * self.room, self._max_batch_rows), 0

    async def _compute_parts(self, batch: Sequence[Slice]) -> list[Tensors]:
        loop = asyncio.get_running_loop()
        rows = [item.rows for item in batch]
        self._metrics.batch(sum(rows))
        cut = loop.time()
        ran = await self._compute([item.inputs for item in batch], batch[0].request.outputs)
        computed, start = loop.time(), cut + ran.wait_seconds
        parts = self._split(ran.outputs, rows)
        end = loop.time()
        self._metrics.phase("compute", end - start)
        seconds = RunSeconds(ran.stack_seconds, computed - start - ran.stack_seconds, end - computed)
        if any(item.request.counted for item in batch):
            self._metrics.ran(sum(rows), seconds)
        for item in batch:
            item.request.run_seconds.add(seconds)
            if item.start == 0:
                item.request.queue_seconds += ran.wait_seconds
        self.seconds_per_row = 0.9 * self.seconds_per_row + 0.1 * seconds.total / sum(rows)
        return parts

    def _split(self, outputs: Tensors, rows: Sequence[int]) -> list[Tensors]:
        if not self._max_batch_rows:
            return [outputs]
        for name, value in outputs.items():
            if value.ndim == 0 or len(value) != sum(rows):
                raise InferenceError(f"output {name!r} has shape {value.shape} for a batch of {sum(rows)} rows")
        return split(outputs, rows)

    def _fail(self, request: Request, exc: Exception) -> None:
        self._line.remove(request)
        if isinstance(exc, ServiceError):
            request.fail(exc)
            return
        failure = InferenceError(repr(exc))
        failure.__cause__ = exc
        request.fail(failure)
