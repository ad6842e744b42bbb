"""How long a model takes for a row, and what follows from that."""

from __future__ import annotations

import math
from time import perf_counter

from service.backend.contract import Backend, Device, Signature, Tensors

SHORT_ROW_SECONDS = 0.001
"""A model that takes no longer for a row is opened for one core: its runs are too short to be shared out among cores,
while batches that are run side by side are not (see docs/performance.md)."""
LONG_RUN_SECONDS, ENOUGH_ROWS = 0.05, 8
"""A run on a CPU takes no longer, or has no more rows."""
ENOUGH_PICTURES = 4
"""Rows of a run on a CPU, where a row is a picture that keeps a core busy by itself."""

INSTANT_SECONDS = 0.001
"""A run that takes no longer is done on the spot: handing it to a thread and back takes some 0.15 ms."""
_MEMORY = 0.2
"""By how much the last run counts."""


class LonePace:
    """What a run of a single request takes, by the size of its inputs: guessed, until such runs have been seen."""

    def __init__(self, seconds_per_byte: float) -> None:
        """Take what a byte of input takes at most; infinite: nobody knows, and runs tell nothing either."""
        self._seconds_per_byte = seconds_per_byte
        self._seen: dict[int, float] = {}
        """Seconds of runs, by the number of bits of their size."""

    def is_instant(self, size: int) -> bool:
        """Whether a run with inputs of this size is over before a thread could have begun it."""
        return self._seen.get(size.bit_length(), size * self._seconds_per_byte) < INSTANT_SECONDS

    def took(self, size: int, seconds: float) -> None:
        """A run was as long as this."""
        if math.isfinite(self._seconds_per_byte):
            place = size.bit_length()
            self._seen[place] = seconds + (1 - _MEMORY) * (self._seen.get(place, seconds) - seconds)


def run_seconds(backend: Backend, inputs: Tensors) -> float:
    """What a run takes: the shortest of three, or the first if that is long."""
    shortest = math.inf
    for _ in range(3):
        start = perf_counter()
        backend.run(inputs)
        shortest = min(shortest, perf_counter() - start)
        if shortest > LONG_RUN_SECONDS:
            break
    return shortest


def is_short(row_seconds: float) -> bool:
    """Whether a model takes so little for a row that it is opened for one core."""
    return row_seconds < SHORT_ROW_SECONDS


def are_pictures(row_seconds: float, device: Device, graph: Signature) -> bool:
    """Whether one row is enough to keep a core of the CPU busy, as the many places of a picture are.

    Recurrent networks gain by batches, as do GPUs. Of pictures two runs of a few, on a core each, bring as much as
    larger batches on all cores, or more, and answer sooner (see docs/performance.md).
    """
    return device.kind == "cpu" and not is_short(row_seconds) and any(len(spec.shape) > 3 for spec in graph.inputs)


def run_rows(row_seconds: float, most: int, device: Device, graph: Signature) -> int:
    """Rows of one run.

    A CPU gains nothing from large batches of what takes long for a row: its caches do not hold them (MobileNetV2 loses
    a tenth from 4 to 8 rows and a fifth from 8 to 32), and whoever comes next waits longer.

    Args:
        row_seconds: of the model; infinite where it is not known.
        most: the rows that a run may have; 0: there is no batch axis.
        device: where it runs.
        graph: what the model takes.
    """
    if are_pictures(row_seconds, device, graph):
        return min(most, ENOUGH_PICTURES)
    if device.kind != "cpu" or most <= ENOUGH_ROWS or math.isinf(row_seconds):
        return most
    return min(most, max(ENOUGH_ROWS, int(LONG_RUN_SECONDS / max(row_seconds, 1e-9))))
