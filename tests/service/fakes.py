"""A backend that needs no model: it answers with its inputs, when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from service.backend.contract import Tensors
from service.batching.batcher import Batcher
from service.batching.rules import BatchRules
from service.batching.runs import Computed
from service.batching.waiting_line import stack
from service.errors import OutOfMemoryError
from service.telemetry.metrics import Metrics

BAD = -1.0
"""A row with this value fails the run that it is in."""


class FakeCompute:
    """Answers y = 10 x. `hold()` keeps runs from ending until `release()`."""

    def __init__(self, max_runs: int = 1) -> None:
        self.max_runs = max_runs
        self.memory_rows = 10**9
        """Runs of more rows than this do not fit into memory."""
        self.batches: list[list[float]] = []
        self.outputs: list[Sequence[str]] = []
        self.running = 0
        self.stack_seconds = 0.0
        """What it says that stacking took."""
        self.wait_seconds = 0.0
        """And that no thread was free for."""
        self.loses_rows = False
        """Answer one row only, whatever was asked."""
        self.started = asyncio.Event()
        """Set by the first run."""
        self._go = asyncio.Event()
        self._go.set()

    def hold(self) -> None:
        """Runs do not end from now on."""
        self._go.clear()

    def release(self) -> None:
        """Runs end."""
        self._go.set()

    async def __call__(self, parts: Sequence[Tensors], outputs: Sequence[str]) -> Computed:
        assert self.running < self.max_runs, "so many runs at a time"
        self.running += 1
        self.started.set()
        try:
            x = stack(parts)["x"]
            self.batches.append([float(value) for value in x.ravel()[:: x[0].size]])
            self.outputs.append(outputs)
            await asyncio.sleep(0)
            await self._go.wait()
            if len(x) > self.memory_rows:
                raise OutOfMemoryError(f"{len(x)} rows")
            if (x == BAD).any():
                raise RuntimeError("a bad row")
            outputs: Tensors = {"y": 10 * (x[:1] if self.loses_rows else x)}
            return Computed(outputs, self.wait_seconds, self.stack_seconds)
        finally:
            self.running -= 1


class Bench:
    """A batcher on a fake backend."""

    def __init__(
        self, *, max_batch_rows: int = 8, max_queue_rows: int = 64, max_queue_seconds: float = 1e6, **rules: Any
    ) -> None:
        """`rules` are the other ones of `BatchRules`."""
        self.metrics = Metrics()
        cut = BatchRules(max_rows=max_batch_rows, **rules)
        self.compute = FakeCompute(cut.runs + cut.spare_runs)
        metrics = self.metrics.for_model("fake", 1)
        self.statistics = metrics.statistics
        limits = {"max_queue_rows": max_queue_rows, "max_queue_seconds": max_queue_seconds}
        self.batcher = Batcher(self.compute, metrics, cut, **limits)

    def ask(
        self,
        *values: float,
        width: int = 1,
        outputs: Sequence[str] = (),
        within: float | None = None,
        priority: int = 0,
    ) -> Answer:
        """Submit rows that are filled with these values; `within` seconds from now is the deadline."""
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        inputs = rows(*values, width=width)
        return asyncio.create_task(self.batcher.submit(inputs, outputs, deadline=deadline, priority=priority))

    async def occupy(self) -> Answer:
        """Make the backend busy until `compute.release()`."""
        self.compute.hold()
        task = self.ask(0.0)
        await self.compute.started.wait()
        return task

    def count(self, name: str, **labels: str) -> float:
        """The value of a metric of the model."""
        value = self.metrics.registry.get_sample_value(f"menagerie_{name}", {"model": "fake", "version": "1"} | labels)
        return value or 0.0


Answer = asyncio.Task[Tensors]


def rows(*values: float, width: int = 1) -> Tensors:
    """Inputs of the fake: one row filled with each value."""
    return {"x": np.repeat(np.array(values, np.float32)[:, None], width, axis=1)}


def firsts(outputs: Tensors) -> list[float]:
    """The first value of each row of the answer, undoing the factor of the fake."""
    return [float(row[0]) / 10 for row in outputs["y"]]


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)
