"""The metrics of one version of a model."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from service.telemetry.families import CUTS, Families, version_labels
from service.telemetry.phases import add_phases
from service.telemetry.statistics import RunSeconds, Statistics

STATES = ("LOADING", "READY", "FAILED", "UNLOADING", "UNLOADED")


class ModelMetrics:
    """The metrics of one version; labels are looked up once."""

    def __init__(
        self, families: Families, answering: MutableMapping[tuple[str, str], ModelMetrics], model: str, version: str
    ) -> None:
        """`answering`: where the version enters itself while it answers."""
        self._families = families
        self._answering = answering
        self._labels = (model, version)
        self.statistics = Statistics()
        """The sums since this object was made, that is, since the version was loaded."""
        self._phases = {
            phase: families.phase_seconds.labels(model, version, phase)
            for phase in ("decode", "queue", "compute", "encode", "total")
        }
        self.rows_waiting = 0
        """Rows that wait now."""
        self.load_duration = 0.0
        """Seconds that loading took."""
        self._batch_rows = families.batch_rows.labels(model, version)
        self._batch_wait = families.batch_wait.labels(model, version)
        self._cuts = {reason: families.batches.labels(model, version, reason) for reason in CUTS}
        self._queue_rows = families.queue_rows.labels(model, version)
        self._rejected = families.rejected.labels(model, version)
        self._retried = families.retried.labels(model, version)
        self._confidence = families.confidence.labels(model, version)
        self._dropped = {reason: families.dropped.labels(model, version, reason) for reason in ("cancelled", "expired")}
        self._published_rows = 0
        self._lock = Lock()
        self._publishers: list[Callable[[], None]] = []

    def before_scrape(self, publish: Callable[[], None]) -> None:
        """Have this called before the metrics are read, by whatever thread reads them."""
        self._publishers.append(publish)

    def publish(self) -> None:
        """Bring up to date what is not kept up to date all the time."""
        # By the difference, since a version that is being replaced may have rows too.
        with self._lock:  # two scrapes may be under way
            rows = self.rows_waiting
            more, self._published_rows = rows - self._published_rows, rows
        self._queue_rows.inc(more)
        for publish in self._publishers:
            publish()

    def settle(self) -> None:
        """Nothing comes any more."""
        self.publish()
        self._publishers.clear()

    def phase(self, name: str, seconds: float) -> None:
        """A part of a request took this long."""
        self._phases[name].observe(seconds)
        if name == "decode":
            self.statistics.decode.add(seconds)
        elif name == "encode":
            self.statistics.encode.add(seconds)

    def timed(self, phase: str) -> _Timed:
        """Measure a part of a request; what fails is not counted."""
        return _Timed(self, phase)

    def batch(self, rows: int) -> None:
        """A run of this many rows begins."""
        self._batch_rows.observe(rows)

    def cut(self, reason: str, wait_seconds: float) -> None:
        """A batch was cut for one of `CUTS`, after its first request had waited so long."""
        self._cuts[reason].inc()
        self._batch_wait.observe(wait_seconds)

    def ran(self, rows: int, seconds: RunSeconds) -> None:
        """A run of this many rows, of which somebody asked for one at least, succeeded."""
        self.statistics.ran(rows, seconds)

    def answered(self, rows: int, queue_seconds: float, run_seconds: RunSeconds) -> None:
        """The model is done with a request of this many rows."""
        self.statistics.answered(rows, queue_seconds, run_seconds)
        now = perf_counter()
        begun = now - run_seconds.total
        add_phases(("queue", begun - queue_seconds, begun), ("compute", begun, now))

    def request(self) -> _Counted:
        """Count a request to the model, from its arrival to its answer or its failure."""
        return _Counted(self)

    def finished(self, seconds: float, *, failed: bool) -> None:
        """A request is over."""
        if failed:
            self.statistics.fail.add(seconds)
            return
        self.statistics.success.add(seconds)
        self._phases["total"].observe(seconds)

    def queued(self, rows: int) -> None:
        """This many rows wait."""
        self.rows_waiting = rows

    def dropped(self, reason: str) -> None:
        """Work was dropped before compute: "cancelled" or "expired"."""
        self._dropped[reason].inc()

    def rejected(self) -> None:
        """A request was refused at the door."""
        self._rejected.inc()

    def sequences(self, more: int) -> None:
        """So many sequences more are alive."""
        self._families.sequences.labels(*self._labels).inc(more)

    def sequence_ended(self, reason: str) -> None:
        """A sequence is gone: "ended", "idle", "restarted", "failed" or "lost"."""
        self._families.sequences_ended.labels(*self._labels, reason).inc()

    def retried(self) -> None:
        """A batch failed and is run again one by one."""
        self._retried.inc()

    def predicted(self, label: str, rows: int) -> None:
        """The model named this class for so many rows."""
        self._families.predicted.labels(*self._labels, label).inc(rows)

    def confident(self, probabilities_N: NDArray[np.floating]) -> None:
        """The classes that were named for some rows have these probabilities."""
        self._confidence.observe_all(probabilities_N)

    def measured(self, quantity: str, rows: int, out_of_range: int) -> None:
        """So many rows were compared with training, of which so many had a value outside its range."""
        self._families.measured.labels(*self._labels, quantity).inc(rows)
        self._families.out_of_range.labels(*self._labels, quantity).inc(out_of_range)

    def shifted(self, quantity: str, deviations: float) -> None:
        """The recent mean is so many standard deviations from training's."""
        self._families.shift.labels(*self._labels, quantity).set(deviations)

    def drifted(self, quantity: str, index: float) -> None:
        """The population-stability index is this now."""
        self._families.drift.labels(*self._labels, quantity).set(index)

    def state(self, name: str) -> None:
        """The version is in this one of the `STATES` now."""
        for state in STATES:
            self._families.model_state.labels(*self._labels, state).set(state == name)

    def loaded(self, *, device: str, provider: str, seconds: float, golden_error: float) -> None:
        """The version answers requests from now on."""
        self.load_duration = seconds
        self._answering[self._labels] = self
        self._families.model_device.labels(*self._labels, device, provider).set(1)
        self._families.load_seconds.labels(*self._labels).set(seconds)
        self._families.golden_error.labels(*self._labels).set(golden_error)

    def removed(self) -> None:
        """The version is gone: its gauges go too."""
        self.settle()
        if self._answering.get(self._labels) is self:  # else it was loaded again meanwhile
            del self._answering[self._labels]
        own, families = version_labels(*self._labels), self._families
        gauges = (families.model_device, families.model_state, families.load_seconds, families.golden_error)
        for gauge in (*gauges, families.queue_rows, families.sequences, families.shift, families.drift):
            gauge.remove_by_labels(own)


# These two stand around every request, where a generator with `contextmanager` takes three times as long.


class _Timed:
    __slots__ = ("_metrics", "_phase", "_start")

    def __init__(self, metrics: ModelMetrics, phase: str) -> None:
        self._metrics, self._phase = metrics, phase

    def __enter__(self) -> None:
        self._start = perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            end = perf_counter()
            self._metrics.phase(self._phase, end - self._start)
            add_phases((self._phase, self._start, end))


class _Counted:
    __slots__ = ("_metrics", "_start")

    def __init__(self, metrics: ModelMetrics) -> None:
        self._metrics = metrics

    def __enter__(self) -> None:
        self._metrics.statistics.arrived()
        self._start = perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._metrics.finished(perf_counter() - self._start, failed=error is not None)
