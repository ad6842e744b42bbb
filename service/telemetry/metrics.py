"""What operators see: Prometheus metrics on a registry of our own.

When a model is unloaded, its gauges go, while its counters and histograms stay, as Prometheus wants it; of a version
that its repository does not hold any more, all goes, or a server whose models are renewed every night would grow for
ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from weakref import WeakSet

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.telemetry.families import Families
from service.telemetry.model_metrics import ModelMetrics
from service.telemetry.triton_metrics import Row, TritonCollector


class Metrics(Families):
    """All metrics of one server. Nothing here is global: two servers in one process do not share a number."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        registry.register(_Publisher(self._publish))  # the first one: it is asked before the others
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        super().__init__(registry)
        self.in_flight = 0
        """RPCs being answered."""
        self.requests_in_flight.set_function(lambda: self.in_flight)
        self._answering: dict[tuple[str, str], ModelMetrics] = {}
        self._alive: WeakSet[ModelMetrics] = WeakSet()
        self._alive_lock = Lock()  # scrapes come in threads of their own, while versions come and go
        registry.register(TritonCollector(self._triton_rows))

    def for_model(self, name: str, version: int) -> ModelMetrics:
        """The metrics of one version."""
        model = ModelMetrics(self, self._answering, name, str(version))
        with self._alive_lock:
            self._alive.add(model)
        return model

    def forget(self, name: str, version: int) -> None:
        """Drop everything about a version that is gone for good."""
        self._answering.pop((name, str(version)), None)
        self.remove(name, str(version))

    def _publish(self) -> None:
        with self._alive_lock:
            models = list(self._alive)
        for model in models:
            model.publish()

    def _triton_rows(self) -> list[Row]:
        return [(*labels, model) for labels, model in sorted(self._answering.items())]


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
