"""What measuring needs of the machine: a clock, and work side by side. Tests have one that is made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import perf_counter
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Machine(Protocol):
    """Where models are timed."""

    def now(self) -> float:
        """Seconds since some moment; never runs back."""
        ...

    def side_by_side(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """Do all jobs at the same time; their results, in order."""
        ...


class ThisMachine:
    """The real one."""

    def now(self) -> float:
        """Seconds since some moment; never runs back."""
        return perf_counter()

    def side_by_side(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """Do each job in a thread of its own, begun together; their results, in order."""
        if len(jobs) == 1:
            return [jobs[0]()]
        start = Barrier(len(jobs))

        def begin(job: Callable[[], Result]) -> Result:
            start.wait()
            return job()

        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(begin, jobs))
