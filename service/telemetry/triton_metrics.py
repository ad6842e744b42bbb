"""The metrics that existing dashboards know by Triton's names, from the statistics of each model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, UnknownMetricFamily
from prometheus_client.registry import Collector

from service.telemetry.statistics import Statistics


class Counted(Protocol):
    """What is known about a model that is loaded."""

    statistics: Statistics
    rows_waiting: int
    load_duration: float


Row = tuple[str, str, Counted]
"""Model, version, what it has done."""
_LABELS = ("model", "version")

_SUMS: dict[str, tuple[str, Callable[[Statistics], float]]] = {
    "nv_inference_request_success": ("Requests that were answered", lambda s: s.success.count),
    "nv_inference_count": ("Rows that were answered", lambda s: s.rows),
    "nv_inference_exec_count": ("Runs of a model", lambda s: s.runs),
    "nv_inference_request_duration_us": (
        "Time of the requests that were answered, from arrival to answer",
        lambda s: s.success.nanoseconds / 1e3,
    ),
    "nv_inference_queue_duration_us": ("Time in the queue", lambda s: s.queue.nanoseconds / 1e3),
    "nv_inference_compute_input_duration_us": (
        "Time to read and stack inputs",
        lambda s: s.compute_input.nanoseconds / 1e3,
    ),
    "nv_inference_compute_infer_duration_us": (
        "Time in the model",
        lambda s: s.runs_of_requests.compute.nanoseconds / 1e3,
    ),
    "nv_inference_compute_output_duration_us": (
        "Time to split and write outputs",
        lambda s: s.compute_output.nanoseconds / 1e3,
    ),
}


class TritonCollector(Collector):
    """Yields them at every scrape. Triton's counters have no _total at their end, so they go out untyped, which PromQL
    does not mind."""

    def __init__(self, rows: Callable[[], Iterable[Row]]) -> None:
        """`rows`: the models that are loaded, now."""
        self._rows = rows

    def collect(self) -> Iterator[UnknownMetricFamily | GaugeMetricFamily]:
        """All samples."""
        rows = list(self._rows())
        for name, (text, value) in _SUMS.items():
            family = UnknownMetricFamily(name, text, labels=_LABELS)
            for model, version, counted in rows:
                family.add_metric((model, version), value(counted.statistics))
            yield family
        failures = UnknownMetricFamily(
            "nv_inference_request_failure", "Requests that were not answered", labels=(*_LABELS, "reason")
        )
        waiting = GaugeMetricFamily("nv_inference_pending_request_count", "Rows that wait", labels=_LABELS)
        loading = GaugeMetricFamily("nv_model_load_duration_secs", "Time to load", labels=_LABELS)
        for model, version, counted in rows:
            # Why they failed is in menagerie_errors_total, by many more reasons than Triton has.
            failures.add_metric((model, version, "OTHER"), counted.statistics.fail.count)
            waiting.add_metric((model, version), counted.rows_waiting)
            loading.add_metric((model, version), counted.load_duration)
        yield from (failures, waiting, loading)
