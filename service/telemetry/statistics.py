"""What one version of a model has done since it was loaded: counts and times that add up, as clients of the tensor API
ask for them. Prometheus has the same as histograms, see `service.telemetry.metrics`."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time


@dataclass
class Tally:
    """How often something happened, and how long it took in all."""

    count: int = 0
    nanoseconds: int = 0

    def add(self, seconds: float) -> None:
        """It happened once more."""
        self.count += 1
        self.nanoseconds += round(seconds * 1e9)


@dataclass
class Statistics:
    """The sums of one version. Requests that the server makes of its own, to see that a model works, are left out."""

    success: Tally = field(default_factory=Tally)
    """Requests that were answered, from their arrival to their answer."""
    fail: Tally = field(default_factory=Tally)
    """Requests that were not, whosever fault it was."""
    decode: Tally = field(default_factory=Tally)
    """Reading the inputs of a request."""
    queue: Tally = field(default_factory=Tally)
    """Waiting for the first run that has a row of the request."""
    compute: Tally = field(default_factory=Tally)
    """Runs that a request took part in, each as long as it was."""
    encode: Tally = field(default_factory=Tally)
    """Writing the answer."""
    rows: int = 0
    """Rows that were answered."""
    runs_by_rows: dict[int, Tally] = field(default_factory=dict)
    """Runs that succeeded, by the rows that they had."""
    last_request_ms: int = 0
    """When the last request arrived, in milliseconds since 1970; 0: none did."""

    @property
    def runs(self) -> int:
        """Runs that succeeded."""
        return sum(tally.count for tally in self.runs_by_rows.values())

    def arrived(self) -> None:
        """A request is here."""
        self.last_request_ms = int(time() * 1e3)

    def ran(self, rows: int, seconds: float) -> None:
        """A run of this many rows succeeded."""
        self.runs_by_rows.setdefault(rows, Tally()).add(seconds)

    def answered(self, rows: int, queue_seconds: float, compute_seconds: float) -> None:
        """The model is done with a request of this many rows."""
        self.rows += rows
        self.queue.add(queue_seconds)
        self.compute.add(compute_seconds)
