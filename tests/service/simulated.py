"""A machine and models whose speed is a formula, and whose clock only moves when they run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from service.backend.contract import Device, Signature, Tensors, TensorSpec
from service.errors import OutOfMemoryError
from service.tuning.exploring import Explorer
from service.tuning.timing import Probe
from service.tuning.trials import Combination, Trial, cpu_combinations

Result = TypeVar("Result")


class SimulatedMachine:
    """Cores and a clock."""

    def __init__(self, cores: int = 2, *, disturbed: float = 0.0) -> None:
        """`disturbed` is how often other work makes a look take three times as long."""
        self.cores = cores
        self.time = 0.0
        self.beside = 1
        """Runs at a time."""
        self.slowness = 1.0
        self._disturbed = disturbed
        self._random = random.Random(0)

    def now(self) -> float:
        return self.time

    def side_by_side(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        self.beside, start, ends, results = len(jobs), self.time, [], []
        self.slowness = 3.0 if self._random.random() < self._disturbed else 1.0
        for job in jobs:
            self.time = start
            results.append(job())
            ends.append(self.time)
        self.time = max(ends)
        return results


class SimulatedModel:
    """y = 2 x, in `seconds(threads, rows)` where it has the machine to itself."""

    device = Device("cpu", "simulated")
    signature = Signature((TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),), None)

    def __init__(
        self,
        machine: SimulatedMachine,
        threads: int,
        seconds: Callable[[int, int], float],
        *,
        wrong_rows: int = 10**9,
        memory_rows: int = 10**9,
        shares_memory_bus: bool = False,
    ) -> None:
        self._machine, self._threads, self._seconds = machine, threads, seconds
        self._wrong_rows, self._memory_rows = wrong_rows, memory_rows
        self._shares_memory_bus = shares_memory_bus
        self.rows: list[int] = []

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        x, machine = inputs["x"], self._machine
        self.rows.append(len(x))
        if len(x) > self._memory_rows:
            raise OutOfMemoryError(f"{len(x)} rows")
        crowd = machine.beside if self._shares_memory_bus else max(machine.beside * self._threads / machine.cores, 1)
        machine.time += machine.slowness * crowd * self._seconds(self._threads, len(x))
        y = 2 * np.asarray(x, np.float32)
        return {"y": y + 1 if len(x) >= self._wrong_rows else y}

    def close(self) -> None: ...


def explore(
    machine: SimulatedMachine,
    seconds: Callable[[int, int], float],
    *,
    default: Trial | None = None,
    budget: float = 10.0,
    sizes: Sequence[int] = (1, 2, 4, 8, 16, 32),
    **properties: float,
) -> Explorer:
    """An explorer that has tried a model of such speed."""
    combinations = cpu_combinations(machine.cores)
    threads = {combination.threads for combination in combinations}
    models = {count: SimulatedModel(machine, count, seconds, **properties) for count in threads}  # type: ignore[arg-type]
    probe = Probe({"x": np.ones((1, 1), np.float32)}, models[1], None, batched=True)
    start = machine.now()
    explorer = Explorer(
        machine,
        models,
        probe,
        combinations=combinations,
        sizes=sizes,
        default=default or Trial(Combination(machine.cores, 1), sizes[-1]),
    )
    explorer.explore(budget)
    assert machine.now() - start < 1.5 * budget, "the time that it has"
    return explorer
