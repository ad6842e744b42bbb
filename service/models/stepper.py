"""Runs the steps of sequences through the batcher: with the state that belongs to them, beside those of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from service.backend.contract import Signature, Tensors
from service.batching.batcher import Batcher
from service.errors import InferenceError, SequenceError
from service.models.fitting import facts, first_state
from service.models.model_settings import SequenceSettings
from service.models.sequences import SequenceStore, Step
from service.telemetry.model_metrics import ModelMetrics


class Stepper:
    """The sequences of one version of a model. Belongs to one event loop."""

    def __init__(
        self,
        model: str,
        sequence: SequenceSettings,
        graph: Signature,
        batcher: Batcher,
        metrics: ModelMetrics,
        *,
        max_sequences: int,
        idle_seconds: float,
        check: Callable[[Tensors], None] = lambda _: None,
    ) -> None:
        """Start without sequences.

        Args:
            model: its name, for errors.
            sequence: state and facts of the graph.
            graph: all that the graph takes and gives.
            batcher: what runs the steps.
            metrics: counts sequences.
            max_sequences: that may be alive at a time.
            idle_seconds: how long a sequence is kept without a step, where the model does not say.
            check: looks at outputs and state of a step, and raises where they are not to be kept.
        """
        self._model = model
        self._sequence = sequence
        self._graph = graph
        self._batcher = batcher
        self._check = check
        batched = graph.max_batch != 0
        self._store = SequenceStore(
            model,
            lambda: first_state(sequence, batched=batched),
            metrics,
            max_sequences=max_sequences,
            idle_seconds=sequence.idle_seconds or idle_seconds,
        )

    async def run(
        self, step: Step | None, inputs: Tensors, outputs: Sequence[str], deadline: float | None, priority: int = 0
    ) -> Tensors:
        """Run one step when those before it are done.

        Args:
            step: which sequence; None: the caller did not say.
            inputs: one row, without state.
            outputs: the outputs that are wanted, at least one.
            deadline: time of the event loop at which the caller stops waiting.
            priority: as that of the batcher.

        Raises:
            ServiceError: as `SequenceStore.run` and `Batcher.submit`; SequenceError where there is no id, or not
                exactly one row.
        """
        if step is None:
            text = f"inference request to model '{self._model}' must specify a non-zero or non-empty correlation ID"
            raise SequenceError("parameters[sequence_id]", text)
        if self._graph.max_batch != 0 and any(len(value) != 1 for value in inputs.values()):
            text = f"inference request to model '{self._model}' must specify batch-size 1 due to requirements of "
            raise SequenceError("inputs[0].shape", text + "sequence batcher")
        told = facts(self._sequence, self._graph, key=step.id, start=step.start, end=step.end)
        wanted = (*outputs, *sorted(self._sequence.outputs))
        with self._batcher.hold(1) as seats:  # at the door, before it waits for its turn

            async def compute(state: Tensors) -> tuple[Tensors, Tensors]:
                answer = await self._batcher.submit(
                    {**inputs, **told, **state}, wanted, deadline=deadline, priority=priority, seats=seats
                )
                self._check(answer)
                return {name: answer[name] for name in outputs}, self._next(state, answer)

            return await self._store.run(step, deadline, compute)

    @property
    def sequences(self) -> SequenceStore:
        """Those that are alive."""
        return self._store

    def close(self) -> None:
        """Forget every sequence."""
        self._store.close()

    def _next(self, before: Tensors, answer: Tensors) -> Tensors:
        """The state after a step. Copied: an answer is a view of its whole batch, which holds the states of others."""
        after: Tensors = {}
        for state in self._sequence.states:
            value = np.array(answer[state.output])
            rank = before[state.input].ndim
            fixed = (1, *state.shape) if rank > len(state.shape) else state.shape
            if value.ndim != rank or any(
                axis >= 0 and axis != got for axis, got in zip(fixed, value.shape, strict=True)
            ):
                raise InferenceError(f"state {state.output!r} has shape {value.shape}, not {fixed}")
            after[state.input] = value
        return after
