"""What operators see: Prometheus metrics on a registry of our own.

Latencies are histograms, so that they can be summed over servers. When a model is unloaded, its gauges go, while its
counters and histograms stay, as Prometheus wants it; of a version that its repository does not hold any more, all goes,
or a server whose models are renewed every night would grow for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from time import perf_counter
from typing import TypeVar
from weakref import WeakSet

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.telemetry.phases import add_phases
from service.telemetry.statistics import RunSeconds, Statistics
from service.telemetry.tallies import TallyCounter, TallyHistogram
from service.telemetry.triton_metrics import Row, TritonCollector

MODEL = ("model", "version")
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Bounds of the latency buckets: a small model answers in a fraction of a millisecond."""
STATES = ("LOADING", "READY", "FAILED", "UNLOADING", "UNLOADED")
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
CUTS = ("full", "shape", "idle", "delay", "deadline")
"""Why a batch has no more rows: it is full; those who wait have inputs of other shapes; nobody else waits; the delay is
over; its first request is in a hurry."""

AnyMetric = Counter | Gauge | Histogram | TallyCounter | TallyHistogram
OneMetric = TypeVar("OneMetric", bound=AnyMetric)


class Metrics:
    """All metrics of one server. Nothing here is global: two servers in one process do not share a number."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Publisher(self._publish))  # the first one: it is asked before the others
        self._by_model: list[AnyMetric] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = self._tally_counter("requests", "RPCs by outcome", "method", *MODEL, "code")
        self.errors = self._counter(
            "errors", "Failed RPCs, and failed requests of streams, by reason", "method", *MODEL, "code", "reason"
        )
        self.in_flight = 0
        """RPCs being answered."""
        self._gauge("requests_in_flight", "RPCs being answered").set_function(lambda: self.in_flight)
        self.phase_seconds = self._tally_histogram(
            "phase_seconds", "Time spent: decode, queue, compute, encode, total", SECONDS, *MODEL, "phase"
        )
        self.batch_rows = self._histogram("batch_rows", "Rows of one run of a model", ROWS, *MODEL)
        self.queue_rows = self._gauge("queue_rows", "Rows that wait for a model, those being decoded included", *MODEL)
        self.dropped = self._counter("dropped_requests", "Work dropped before compute", *MODEL, "reason")
        self.rejected = self._counter("rejected_requests", "Requests refused as the queue was full", *MODEL)
        self.sequences = self._gauge("sequences", "Sequences whose state the server keeps", *MODEL)
        self.sequences_ended = self._counter(
            "sequences_ended", "Sequences by how they ended: ended, idle, restarted, failed, lost", *MODEL, "reason"
        )
        self.retried = self._counter("retried_batches", "Failed batches that were run again one by one", *MODEL)
        self.models_ready = self._gauge("models_ready", "Model versions that answer requests")
        self.model_state = self._gauge("model_state", "1 for the state that a version is in", *MODEL, "state")
        self.device = self._gauge("device", "1 for the device that the server chose", "device", "provider")
        self.device_fallback = self._gauge(
            "device_fallback", "1 where --device auto took the CPU, as no CUDA device works; the log says why"
        )
        self.model_device = self._gauge("model_device", "1 for the device in use", *MODEL, "device", "provider")
        self.loads = self._counter("model_loads", "Loads of a version by outcome: ready, failed", *MODEL, "outcome")
        self.poll_failures = self._counter("poll_failures", "Looks at the repositories that failed")
        self.load_seconds = self._gauge("model_load_seconds", "Time to open, check and warm up", *MODEL)
        self.golden_error = self._gauge(
            "model_golden_error", "Largest error on the golden samples, as a fraction of the tolerance", *MODEL
        )

        self.batches = self._counter("batches", f"Batches by why they were cut: {', '.join(CUTS)}", *MODEL, "reason")
        self.batch_wait = self._histogram(
            "batch_wait_seconds", "How long the first request of a batch waited for it to be cut", SECONDS, *MODEL
        )
        self.predicted = self._counter("predicted_classes", "Rows by the class that the model named", *MODEL, "label")
        self.confidence = self._histogram("confidence", "Probability of the class that was named", SHARES, *MODEL)
        self.measured = self._counter("measured_inputs", "Rows compared with training", *MODEL, "quantity")
        self.out_of_range = self._counter(
            "out_of_range_inputs", "Rows with a value outside the range of training", *MODEL, "quantity"
        )
        self.shift = self._gauge(
            "input_shift", "Recent mean minus training's, in standard deviations of training", *MODEL, "quantity"
        )
        self.drift = self._gauge(
            "drift_psi", "Population-stability index of recent rows against training", *MODEL, "quantity"
        )
        self.build_info = self._gauge("build_info", "Always 1; the labels say what runs", "version", "python")
        self._models: dict[tuple[str, str], ModelMetrics] = {}
        self._alive: WeakSet[ModelMetrics] = WeakSet()
        self._alive_lock = Lock()  # scrapes come in threads of their own, while versions come and go
        self.registry.register(TritonCollector(self._triton_rows))

    def for_model(self, name: str, version: int) -> ModelMetrics:
        """The metrics of one version."""
        model = ModelMetrics(self, name, str(version))
        with self._alive_lock:
            self._alive.add(model)
        return model

    def _publish(self) -> None:
        with self._alive_lock:
            models = list(self._alive)
        for model in models:
            model.publish()

    def forget(self, name: str, version: int) -> None:
        """Drop everything about a version that is gone for good."""
        own = dict(zip(MODEL, (name, str(version)), strict=True))
        self._models.pop((name, str(version)), None)
        for metric in self._by_model:
            metric.remove_by_labels(own)

    def _triton_rows(self) -> list[Row]:
        return [(*labels, model) for labels, model in sorted(self._models.items())]

    def enter(self, labels: tuple[str, str], model: ModelMetrics) -> None:
        """From now on this object has the statistics of a version."""
        self._models[labels] = model

    def leave(self, labels: tuple[str, str], model: ModelMetrics) -> None:
        """The version is gone, unless it was loaded again meanwhile."""
        if self._models.get(labels) is model:
            del self._models[labels]

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return self._kept(Counter(f"menagerie_{name}", text, labels, registry=self.registry), labels)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return self._kept(Gauge(f"menagerie_{name}", text, labels, registry=self.registry), labels)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return self._kept(Histogram(f"menagerie_{name}", text, labels, buckets=buckets, registry=self.registry), labels)

    def _tally_counter(self, name: str, text: str, *labels: str) -> TallyCounter:
        return self._kept(TallyCounter(f"menagerie_{name}", text, labels, self.registry), labels)

    def _tally_histogram(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> TallyHistogram:
        return self._kept(TallyHistogram(f"menagerie_{name}", text, bounds, labels, self.registry), labels)

    def _kept(self, metric: OneMetric, labels: tuple[str, ...]) -> OneMetric:
        if set(MODEL) <= set(labels):
            self._by_model.append(metric)
        return metric


class _Publisher(Collector):
    """Has no metrics of its own, but a word before they are read."""

    def __init__(self, publish: Callable[[], None]) -> None:
        self._publish = publish

    def describe(self) -> Iterable[Metric]:
        """Nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Nothing."""
        self._publish()
        return ()


class ModelMetrics:
    """The metrics of one version; labels are looked up once."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self._metrics = metrics
        self._labels = (model, version)
        self.statistics = Statistics()
        """The sums since this object was made, that is, since the version was loaded."""
        self._phases = {
            phase: metrics.phase_seconds.labels(model, version, phase)
            for phase in ("decode", "queue", "compute", "encode", "total")
        }
        self.rows_waiting = 0
        """Rows that wait now."""
        self.load_duration = 0.0
        """Seconds that loading took."""
        self._batch_rows = metrics.batch_rows.labels(model, version)
        self._batch_wait = metrics.batch_wait.labels(model, version)
        self._cuts = {reason: metrics.batches.labels(model, version, reason) for reason in CUTS}
        self._queue_rows = metrics.queue_rows.labels(model, version)
        self._rejected = metrics.rejected.labels(model, version)
        self._retried = metrics.retried.labels(model, version)
        self._confidence = metrics.confidence.labels(model, version)
        self._dropped = {reason: metrics.dropped.labels(model, version, reason) for reason in ("cancelled", "expired")}
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
        self._metrics.sequences.labels(*self._labels).inc(more)

    def sequence_ended(self, reason: str) -> None:
        """A sequence is gone: "ended", "idle", "restarted", "failed" or "lost"."""
        self._metrics.sequences_ended.labels(*self._labels, reason).inc()

    def retried(self) -> None:
        """A batch failed and is run again one by one."""
        self._retried.inc()

    def predicted(self, label: str, rows: int) -> None:
        """The model named this class for so many rows."""
        self._metrics.predicted.labels(*self._labels, label).inc(rows)

    def confident(self, probability: float) -> None:
        """The class that was named for a row has this probability."""
        self._confidence.observe(probability)

    def measured(self, quantity: str, rows: int, out_of_range: int) -> None:
        """So many rows were compared with training, of which so many had a value outside its range."""
        self._metrics.measured.labels(*self._labels, quantity).inc(rows)
        self._metrics.out_of_range.labels(*self._labels, quantity).inc(out_of_range)

    def shifted(self, quantity: str, deviations: float) -> None:
        """The recent mean is so many standard deviations from training's."""
        self._metrics.shift.labels(*self._labels, quantity).set(deviations)

    def drifted(self, quantity: str, index: float) -> None:
        """The population-stability index is this now."""
        self._metrics.drift.labels(*self._labels, quantity).set(index)

    def state(self, name: str) -> None:
        """The version is in this one of the `STATES` now."""
        for state in STATES:
            self._metrics.model_state.labels(*self._labels, state).set(state == name)

    def loaded(self, *, device: str, provider: str, seconds: float, golden_error: float) -> None:
        """The version answers requests from now on."""
        self.load_duration = seconds
        self._metrics.enter(self._labels, self)
        self._metrics.model_device.labels(*self._labels, device, provider).set(1)
        self._metrics.load_seconds.labels(*self._labels).set(seconds)
        self._metrics.golden_error.labels(*self._labels).set(golden_error)

    def removed(self) -> None:
        """The version is gone: its gauges go too."""
        self.settle()
        self._metrics.leave(self._labels, self)
        own = dict(zip(MODEL, self._labels, strict=True))
        metrics = self._metrics
        gauges = (metrics.model_device, metrics.model_state, metrics.load_seconds, metrics.golden_error)
        for gauge in (*gauges, metrics.queue_rows, metrics.sequences, metrics.shift, metrics.drift):
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
