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


@dataclass(slots=True)
class RunSeconds:
    """How long the parts of a run took, or of all runs that a request took part in."""

    stack: float = 0.0
    """Joining the rows of several requests."""
    compute: float = 0.0
    """The model."""
    split: float = 0.0
    """Giving each request its rows of the outputs."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.stack + self.compute + self.split

    def add(self, other: RunSeconds) -> None:
        """One more run."""
        self.stack += other.stack
        self.compute += other.compute
        self.split += other.split


@dataclass
class Parts:
    """Stacking, computing and splitting, each with its count."""

    stack: Tally = field(default_factory=Tally)
    compute: Tally = field(default_factory=Tally)
    split: Tally = field(default_factory=Tally)

    def add(self, seconds: RunSeconds) -> None:
        """It happened once more."""
        self.stack.add(seconds.stack)
        self.compute.add(seconds.compute)
        self.split.add(seconds.split)


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
    runs_of_requests: Parts = field(default_factory=Parts)
    """Runs that a request took part in, each as long as it was."""
    encode: Tally = field(default_factory=Tally)
    """Writing the answer."""
    rows: int = 0
    """Rows that were answered."""
    runs_by_rows: dict[int, Parts] = field(default_factory=dict)
    """Runs that succeeded, by the rows that they had."""
    last_request_ms: int = 0
    """When the last request arrived, in milliseconds since 1970; 0: none did."""

    @property
    def runs(self) -> int:
        """Runs that succeeded."""
        # A copy first: a scrape reads this in a thread of its own, while the event loop adds sizes.
        return sum(parts.compute.count for parts in list(self.runs_by_rows.values()))

    @property
    def compute_input(self) -> Tally:
        """Reading the inputs of requests, and stacking them."""
        return Tally(self.decode.count, self.decode.nanoseconds + self.runs_of_requests.stack.nanoseconds)

    @property
    def compute_output(self) -> Tally:
        """Splitting the outputs, and writing the answers."""
        return Tally(self.encode.count, self.encode.nanoseconds + self.runs_of_requests.split.nanoseconds)

    def arrived(self) -> None:
        """A request is here."""
        self.last_request_ms = int(time() * 1e3)

    def ran(self, rows: int, seconds: RunSeconds) -> None:
        """A run of this many rows succeeded."""
        self.runs_by_rows.setdefault(rows, Parts()).add(seconds)

    def answered(self, rows: int, queue_seconds: float, run_seconds: RunSeconds) -> None:
        """The model is done with a request of this many rows."""
        self.rows += rows
        self.queue.add(queue_seconds)
        self.runs_of_requests.add(run_seconds)
