"""The metrics that there are: names, texts, labels and buckets.

Latencies are histograms, so that they can be summed over servers.
"""

from __future__ import annotations

from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.telemetry.tallies import TallyCounter, TallyHistogram

MODEL = ("model", "version")
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Bounds of the latency buckets: a small model answers in a fraction of a millisecond."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
CUTS = ("full", "share", "shape", "idle", "delay", "deadline")
"""Why a batch has no more rows: it is full; the rest is for runs beside it; those who wait have inputs of other shapes;
nobody else waits; the delay is over; its first request is in a hurry."""

AnyMetric = Counter | Gauge | Histogram | TallyCounter | TallyHistogram
OneMetric = TypeVar("OneMetric", bound=AnyMetric)


class Families:
    """All that a server counts and measures itself, on a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._by_model: list[AnyMetric] = []
        self.requests = self._tally_counter("requests", "RPCs by outcome", "method", *MODEL, "code")
        self.errors = self._counter(
            "errors", "Failed RPCs, and failed requests of streams, by reason", "method", *MODEL, "code", "reason"
        )
        self.requests_in_flight = self._gauge("requests_in_flight", "RPCs being answered")
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
        self.confidence = self._tally_histogram("confidence", "Probability of the class that was named", SHARES, *MODEL)
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

    def remove(self, model: str, version: str) -> None:
        """Drop everything about a version."""
        for metric in self._by_model:
            metric.remove_by_labels(version_labels(model, version))

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


def version_labels(model: str, version: str) -> dict[str, str]:
    """The labels of a version."""
    return dict(zip(MODEL, (model, version), strict=True))
