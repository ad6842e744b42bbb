"""What is tried: threads of a run, runs at a time, rows of a batch; and what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.backend.padding import batch_sizes

GPU_INSTANCES = (1, 2, 4)
"""Runs at a time that are tried on a GPU: one copies while others compute, more only wait for each other."""


@dataclass(frozen=True, order=True)
class Combination:
    """How the cores are divided."""

    threads: int
    """Cores that one run may use."""
    instances: int
    """Runs at a time."""

    @property
    def cores(self) -> int:
        """Cores in use under full load."""
        return self.threads * self.instances

    def __str__(self) -> str:
        return f"{_many(self.instances, 'run')} at a time on {_many(self.threads, 'thread')}"


@dataclass(frozen=True, order=True)
class Trial:
    """A combination with batches of one size."""

    combination: Combination
    rows: int


@dataclass(frozen=True)
class Sample:
    """What one look at a trial gave."""

    rows_per_second: float
    """Of all runs together."""
    run_seconds: float
    """What one run took, the others beside it."""


@dataclass
class Measurement:
    """Looks at one trial. Other work on the machine only makes them slower, so that the best one counts."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        """Of all runs together."""
        return max(sample.rows_per_second for sample in self.samples)

    @property
    def repeated_rate(self) -> float:
        """Rows per second that two looks reached; 0 where there was one."""
        rates = sorted(sample.rows_per_second for sample in self.samples)
        return rates[-2] if len(rates) > 1 else 0.0

    @property
    def run_seconds(self) -> float:
        """What one run takes, the others beside it."""
        return min(sample.run_seconds for sample in self.samples)

    @property
    def spread(self) -> float:
        """By how much of the best look the worst one was slower."""
        return 1 - min(sample.rows_per_second for sample in self.samples) / self.rows_per_second


Measurements = dict[Trial, Measurement]


def cpu_combinations(cores: int) -> set[Combination]:
    """All ways to divide so many cores, by powers of two and the whole."""
    return {
        Combination(threads, instances) for threads in batch_sizes(cores) for instances in batch_sizes(cores // threads)
    }


def gpu_combinations(threads: int) -> set[Combination]:
    """Runs at a time on a GPU; threads hardly matter there."""
    return {Combination(threads, instances) for instances in GPU_INSTANCES}


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
