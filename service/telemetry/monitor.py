"""What a model is asked and what it says, against what it was trained on (the reference statistics in its card).

- Of a classifier: how often it names each class, and how sure it is.
- Of each quantity that the card has statistics of: inputs outside the range of training, and how far the recent mean is
  from training's. A quantity is a feature of a series, a colour channel of an image, or whatever the graph gives as an
  output of that name with one number a row, e.g. `unknown_token_rate`.
- Where the card has the distribution over training: the population-stability index of the recent inputs, or predicted
  classes, against it. The habit of the trade is to look closer from 0.1 on, and to act from 0.25 on.

"Recent" is a window whose past fades: after `memory_rows` rows a row counts half.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.backend.contract import Tensors
from service.telemetry.model_metrics import ModelMetrics
from zoo.card import CHANNELS, IMAGE_INPUT, PROBABILITIES, SERIES_INPUT, Card, ColumnStatistics, ImageTask, SeriesTask

MEMORY_ROWS = 1000
"""Rows until one counts half; more where there are many classes."""
ROWS_PER_BIN = 20
"""An index over fewer rows than this for each bin is mostly noise, and not published."""
CLASSES = "predicted class"
"""The quantity under which the drift of the predicted classes stands."""
_PIXELS = 28
"""A grid of so many pixels by so many, and less than twice as many, is enough to know how bright an image is."""
_SMALLEST_SHARE = 1e-4
_ROWS_AT_A_TIME, _VALUES_AT_A_TIME = 256, 2**17
"""Rows that are gathered before anything is computed of them, as it costs about as much for many rows as for one; fewer
where they have more values, which nobody should have to wait for."""


class Monitor:
    """Watches one version of a model. Answers are taken by one thread, and looked at by that or any other."""

    def __init__(self, card: Card, outputs: set[str], metrics: ModelMetrics) -> None:
        """Compare with a card; `outputs` are those of the graph."""
        self._card = card
        self._metrics = metrics
        self._quantities = {name: _Quantity(reference) for name, reference in card.reference.items()}
        self.outputs = tuple(sorted(outputs & card.reference.keys()))
        """Outputs of the graph that are quantities; ask for them beside those that callers want."""
        self._labels = () if isinstance(card.task, SeriesTask) else card.task.labels
        self._kept_inputs = tuple(name for name, of in _quantities(card).items() if card.reference.keys() & of)
        self._kept_outputs = ((PROBABILITIES,) if self._labels else ()) + self.outputs
        self._classes = _class_drift(card, self._labels)
        self._lock = Lock()
        self._gathered: dict[Hashable, list[Tensors]] = {}
        """Answers that were not looked at yet; those of one shape together."""
        self._gathered_rows, self._gathered_values = 0, 0
        metrics.before_scrape(self.publish)

    def observe(self, inputs: Tensors, outputs: Tensors) -> None:
        """A request was answered: what went into the graph, and what of its outputs is known."""
        kept = {name: _sample(name, inputs[name]) for name in self._kept_inputs if name in inputs}
        kept |= {name: outputs[name] for name in self._kept_outputs if name in outputs}
        if not kept:
            return
        with self._lock:
            self._gathered.setdefault(tuple((name, value.shape[1:]) for name, value in kept.items()), []).append(kept)
            self._gathered_rows += len(next(iter(kept.values())))
            self._gathered_values += sum(value.size for value in kept.values())
        if self._gathered_rows >= _ROWS_AT_A_TIME or self._gathered_values >= _VALUES_AT_A_TIME:
            self.publish()

    def publish(self) -> None:
        """Look at all answers so far."""
        with self._lock:
            gathered, self._gathered = self._gathered, {}
            self._gathered_rows = self._gathered_values = 0
            for answers in gathered.values():
                self._look({name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]})

    def _look(self, tensors: Tensors) -> None:
        if PROBABILITIES in tensors and self._labels:
            self._observe_classes(tensors[PROBABILITIES])
        for name, values_NV in self._values(tensors).items():
            if quantity := self._quantities.get(name):
                self._observe_quantity(name, quantity, values_NV)

    def _observe_classes(self, probabilities_NK: NDArray[Any]) -> None:
        if probabilities_NK.ndim != 2 or probabilities_NK.shape[1] != len(self._labels):
            return
        probabilities_NK = probabilities_NK[np.isfinite(probabilities_NK).all(axis=1)]
        best_N = probabilities_NK.argmax(axis=1)
        counts_K = np.bincount(best_N, minlength=len(self._labels))
        for index in np.flatnonzero(counts_K).tolist():
            self._metrics.predicted(self._labels[index], int(counts_K[index]))
        self._metrics.confident(probabilities_NK.max(axis=1))
        if self._classes:
            self._publish(CLASSES, self._classes, len(best_N), counts_K.astype(np.float64))

    def _values(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Quantity to its values, [N, anything]."""
        task, values = self._card.task, {name: tensors[name] for name in self.outputs if name in tensors}
        if isinstance(task, ImageTask) and IMAGE_INPUT in tensors:
            values |= {name: tensors[IMAGE_INPUT][:, channel] for channel, name in enumerate(CHANNELS)}
        if isinstance(task, SeriesTask) and SERIES_INPUT in tensors:
            history_NTF = tensors[SERIES_INPUT]
            values |= {feature.name: history_NTF[..., index] for index, feature in enumerate(task.features)}
        together = {name: np.ascontiguousarray(value) for name, value in values.items() if value.size}
        return {name: value.reshape(len(value), -1) for name, value in together.items()}

    def _observe_quantity(self, name: str, quantity: _Quantity, values_NV: NDArray[Any]) -> None:
        reference = quantity.reference
        lowest_N, highest_N = values_NV.min(axis=1), values_NV.max(axis=1)
        inside_N = (lowest_N >= reference.min) & (highest_N <= reference.max)  # what is no number is not inside
        self._metrics.measured(name, len(values_NV), int((~inside_N).sum()))
        finite_N = np.isfinite(lowest_N) & np.isfinite(highest_N)
        if not finite_N.all():
            values_NV = values_NV[finite_N]
        if not len(values_NV):
            return
        self._metrics.shifted(name, quantity.shift(values_NV))
        if quantity.drift:
            counts = quantity.counts(values_NV)
            self._publish(name, quantity.drift, len(values_NV), counts)

    def _publish(self, name: str, drift: _Drift, rows: int, counts: NDArray[np.float64]) -> None:
        drift.add(rows, counts)
        if drift.known:
            self._metrics.drifted(name, drift.index())


class _Quantity:
    """A quantity, and its recent past."""

    def __init__(self, reference: ColumnStatistics) -> None:
        self.reference = reference
        found = reference.distribution
        self._edges = found.edges if found else ()
        self.drift = _Drift(np.array(found.shares)) if found else None
        self._mean = _Fading(1, MEMORY_ROWS)

    def shift(self, values_NV: NDArray[Any]) -> float:
        """How far the recent mean is from training's, in standard deviations of training."""
        rows, size = values_NV.shape
        self._mean.add(rows, np.array([values_NV.sum(dtype=np.float64) / size]))
        return float(self._mean.shares[0] - self.reference.mean) / max(self.reference.std, 1e-12)

    def counts(self, values_NV: NDArray[Any]) -> NDArray[np.float64]:
        """Rows by bin; a row whose values are in several is shared among them."""
        # A comparison for each edge, which takes vectors, is several times faster than a search for each value. That of
        # integers is with integers, and that of float32 with an edge rounded as the value was.
        whole = values_NV.dtype.kind in "iu"
        above = [np.count_nonzero(values_NV >= (math.ceil(edge) if whole else edge)) for edge in self._edges]
        counts = -np.diff([values_NV.size, *above, 0])
        shared: NDArray[np.float64] = counts / values_NV.shape[1]
        return shared


class _Fading:
    """Sums over rows, of which the past fades."""

    def __init__(self, size: int, memory_rows: int) -> None:
        self._keep = 0.5 ** (1 / memory_rows)
        self.rows = 0.0
        self._sums = np.zeros(size)

    def add(self, rows: int, sums: NDArray[np.float64]) -> None:
        """Rows and what they sum up to."""
        keep = self._keep**rows
        self.rows = keep * self.rows + rows
        self._sums = keep * self._sums + sums

    @property
    def shares(self) -> NDArray[np.float64]:
        """The mean over rows."""
        shares: NDArray[np.float64] = self._sums / self.rows
        return shares


class _Drift(_Fading):
    """How a distribution over bins has moved away from the one of training."""

    def __init__(self, reference: NDArray[np.float64]) -> None:
        super().__init__(len(reference), max(MEMORY_ROWS, ROWS_PER_BIN * len(reference)))
        self._reference = np.maximum(reference, _SMALLEST_SHARE)
        self._enough = ROWS_PER_BIN * len(reference)

    @property
    def known(self) -> bool:
        """Whether there were enough rows to tell."""
        return self.rows >= self._enough

    def index(self) -> float:
        """The population-stability index: sum of (p - q) ln(p / q) over the bins."""
        recent, reference = np.maximum(self.shares, _SMALLEST_SHARE), self._reference
        return float(((recent - reference) * np.log(recent / reference)).sum())


def _sample(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """What is kept of an input until it is looked at: of images some pixels, channels first, and nothing that holds on
    to the whole."""
    if name != IMAGE_INPUT:
        return values
    down, across = (max(size // _PIXELS, 1) for size in values.shape[1:3])
    return values[:, ::down, ::across].transpose(0, 3, 1, 2).copy()


def _quantities(card: Card) -> dict[str, Iterable[str]]:
    """Inputs of the graph, and the quantities that are computed of each."""
    if isinstance(card.task, ImageTask):
        return {IMAGE_INPUT: CHANNELS}
    return {SERIES_INPUT: [feature.name for feature in card.task.features]} if isinstance(card.task, SeriesTask) else {}


def _class_drift(card: Card, labels: tuple[str, ...]) -> _Drift | None:
    if not card.class_shares:
        return None
    return _Drift(np.array([card.class_shares.get(label, 0.0) for label in labels]))
