"""A counter and a histogram for what every request touches several times.

Those of prometheus_client may be written by any thread, so they take a lock for each number, and look for a bucket from
the first one on. These are written by one thread, the event loop's, in a sixth of the time; any thread may read them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class _Family(Collector):
    """What the two have in common: children by the values of their labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        registry.register(self)

    def _matching(self, children: Iterable[Labels], own: Mapping[str, str]) -> Iterator[Labels]:
        """The children whose labels have these values."""
        places = [(self._labels.index(label), value) for label, value in own.items()]
        return (values for values in list(children) if all(values[place] == value for place, value in places))


class TallyCounter(_Family):
    """A counter that goes up by one."""

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._counts: dict[Labels, int] = {}
        super().__init__(name, text, labels, registry)

    def count(self, *values: str) -> None:
        """It happened once more, with these values of the labels."""
        self._counts[values] = self._counts.get(values, 0) + 1

    def remove_by_labels(self, own: Mapping[str, str]) -> None:
        """Forget the children whose labels have these values."""
        for values in self._matching(self._counts, own):
            del self._counts[values]

    def describe(self) -> Iterable[Metric]:
        """Name and labels, for the registry."""
        return (CounterMetricFamily(self._name, self._text, labels=self._labels),)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus reads."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count)
        return (family,)


class HistogramTally:
    """One child of a `TallyHistogram`."""

    __slots__ = ("_bounds", "_lock", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._lock = Lock()
        self.counts = [0] * (len(bounds) + 1)
        """Observations by bucket, each in one of them; the last is for what is above all bounds."""
        self.sum = 0.0

    def observe(self, amount: float) -> None:
        """One more observation."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.sum += amount

    def observe_all(self, amounts_N: NDArray[np.floating]) -> None:
        """Some more observations; any thread may call this where nobody calls `observe`."""
        counts = np.bincount(np.searchsorted(self._bounds, amounts_N)).tolist()
        with self._lock:
            for place, count in enumerate(counts):
                self.counts[place] += count
            self.sum += float(amounts_N.sum(dtype=np.float64))


class TallyHistogram(_Family):
    """A histogram."""

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._bounds = tuple(bounds)
        self._names = [*map(floatToGoString, self._bounds), "+Inf"]
        self._children: dict[Labels, HistogramTally] = {}
        super().__init__(name, text, labels, registry)

    def labels(self, *values: str) -> HistogramTally:
        """The child with these values of the labels."""
        return self._children.setdefault(values, HistogramTally(self._bounds))

    def remove_by_labels(self, own: Mapping[str, str]) -> None:
        """Forget the children whose labels have these values."""
        for values in self._matching(self._children, own):
            del self._children[values]

    def describe(self) -> Iterable[Metric]:
        """Name and labels, for the registry."""
        return (HistogramMetricFamily(self._name, self._text, labels=self._labels),)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus reads: of each bucket the observations up to its bound."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, child in list(self._children.items()):
            up_to = accumulate(child.counts)
            family.add_metric(values, list(zip(self._names, up_to, strict=True)), child.sum)
        return (family,)
