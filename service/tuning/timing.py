"""Times runs of a model, and checks that they answer what one row alone is answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.backend.contract import Backend, Tensors
from service.tuning.machine import Machine
from service.tuning.trials import Sample
from zoo.card import Card
from zoo.golden import output_name

_PLAIN_TOLERANCE = 1e-3
"""Of a model without a card, as a fraction of the largest value: what a card tolerates by default."""


class Probe:
    """One row that a model is known to answer, and the answer."""

    def __init__(self, inputs: Tensors, backend: Backend, card: Card | None, *, batched: bool) -> None:
        """Ask for the answer.

        Raises:
            InferenceError: there is none.
        """
        self._inputs = inputs
        self._card = card
        self._batched = batched
        names = (output_name(card.task),) if card else ()
        self._expected = backend.run(inputs, names)
        self._steady = True
        self._steady = self.agrees(backend.run(inputs, names), 1)  # a model may draw lots: nothing to compare then

    def batch(self, rows: int) -> Tensors:
        """The row so many times."""
        if not self._batched or rows == 1:
            return self._inputs
        return {name: np.repeat(value, rows, axis=0) for name, value in self._inputs.items()}

    def agrees(self, outputs: Tensors, rows: int) -> bool:
        """Whether each row of a batch has the answer, within the tolerance of the golden samples."""
        return not self._steady or all(
            self._is_near(outputs[name], expected)
            for name, expected in self._expected.items()
            if not self._batched or (outputs[name].ndim and len(outputs[name]) == rows)
        )

    def _is_near(self, got: np.ndarray, expected: np.ndarray) -> bool:
        if got.ndim != expected.ndim or got.shape[1:] != expected.shape[1:]:
            return False
        if got.dtype.kind not in "fc":
            return bool((got == expected).all())
        scale = float(np.abs(np.nan_to_num(expected)).max(initial=0))
        atol, rtol = _PLAIN_TOLERANCE * scale, 0.0
        if self._card:
            atol, rtol = self._card.golden.atol, self._card.golden.rtol
        return bool(np.allclose(got, expected, rtol=rtol, atol=atol, equal_nan=True))


def time_runs(
    machine: Machine, backend: Backend, batch: Tensors, rows: int, instances: int, seconds: float
) -> tuple[Sample, Sequence[Tensors]]:
    """Run batches one after the other, so many at a time, for so long, or once each where that takes longer.

    Returns:
        What it gave, and the last outputs of each instance.

    Raises:
        InferenceError: a run failed.
    """

    def run() -> tuple[int, float, Tensors]:
        start, runs = machine.now(), 0
        while True:
            outputs = backend.run(batch)
            runs += 1
            elapsed = machine.now() - start
            if elapsed >= seconds:
                return runs, elapsed, outputs

    done = machine.side_by_side([run] * instances)
    rate = sum(rows * runs / elapsed for runs, elapsed, _ in done)
    run_seconds = sum(elapsed for _, elapsed, _ in done) / sum(runs for runs, _, _ in done)
    return Sample(rate, run_seconds), [outputs for _, _, outputs in done]
