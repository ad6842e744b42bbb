"""The state of sequences: what recurrent models carry from one request to the next.

One store belongs to one version of one model, so a state is known by model, version and id. That no state leaks is by
construction: a start makes a new `Sequence` with a fresh copy of the initial state, steps hold on to the object that
they were admitted to, and nothing is ever used again for another sequence.

- Steps of one sequence run one after the other, in the order of their arrival; those of others run beside them.
- A step that fails leaves the state as it was before, and fails those that already wait behind it, which would go on
  from a state that the caller does not know. A start that fails has started nothing.
- A sequence ends with the step that says so, when nothing comes for `idle_seconds`, or when its id starts again; and
  where its model has to go before that, see `service.models.former`.

Knows neither gRPC nor what runs the steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.backend.contract import Tensors
from service.errors import (
    DeadlineExpiredError,
    DrainingError,
    SequenceBrokenError,
    SequenceNotStartedError,
    ServiceError,
    TooManySequencesError,
)
from service.telemetry.model_metrics import ModelMetrics

Compute = Callable[[Tensors], Awaitable[tuple[Tensors, Tensors]]]
"""Runs one step: state -> (answer, next state)."""


@dataclass(frozen=True)
class Step:
    """Where a request belongs."""

    id: Hashable
    """Of the sequence: an integer, a text, or an object of the server's own."""
    start: bool = False
    end: bool = False
    lasting: bool = False
    """Whether the sequence is kept however long nothing comes, since its caller is there and will `forget` it."""
    any_version: bool = False
    """Whether the caller left it to the server which version answers."""


@dataclass(eq=False)
class _Ticket:
    """The place of a step in the line of its sequence."""

    failure: ServiceError | None = None
    """Set when a step before it failed."""


class Sequence:
    """One sequence, from its start to its end."""

    def __init__(self, state: Tensors, *, any_version: bool) -> None:
        self.state = state
        self.any_version = any_version
        """Whether it began here because this version was the one to choose then."""
        self.line: list[_Ticket] = []
        """Steps that were admitted and are not answered yet, in the order of their arrival."""
        self.turn = asyncio.Lock()
        """Held by the step that runs. asyncio's locks are fair: whoever came first goes first."""
        self.idle_timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        """It is not idle, or is gone."""
        if self.idle_timer:
            self.idle_timer.cancel()
            self.idle_timer = None


class SequenceStore:
    """The sequences of one version of a model. Belongs to one event loop."""

    def __init__(
        self,
        model: str,
        initial_state: Callable[[], Tensors],
        metrics: ModelMetrics,
        *,
        max_sequences: int,
        idle_seconds: float,
    ) -> None:
        """Start without sequences.

        Args:
            model: its name, for errors.
            initial_state: makes the state before the first step, new arrays with every call.
            metrics: counts sequences.
            max_sequences: that may be alive at a time.
            idle_seconds: a sequence is dropped when no step came for so long.
        """
        self._model = model
        self._initial_state = initial_state
        self._metrics = metrics
        self._max_sequences = max_sequences
        self._idle_seconds = idle_seconds
        self._live: dict[Hashable, Sequence] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._live)

    def has(self, key: Hashable, *, any_version: bool = False) -> bool:
        """Whether a sequence is alive; with `any_version` only one that began without a version's name counts."""
        sequence = self._live.get(key)
        return sequence is not None and (sequence.any_version or not any_version)

    async def ended(self) -> None:
        """Wait until no sequence is alive."""
        await self._empty.wait()

    def abandon(self) -> list[Hashable]:
        """End every sequence, and say which they were; steps that were admitted are still run."""
        keys = list(self._live)
        for key, sequence in list(self._live.items()):
            self._drop(key, sequence, "lost")
        return keys

    async def run(self, step: Step, deadline: float | None, compute: Compute) -> Tensors:
        """Run a step when the earlier ones of its sequence are done, and keep the state that it leaves.

        Args:
            step: which sequence, and whether this is its first or last one.
            deadline: time of the event loop at which the caller stops waiting.
            compute: called once, with the state.

        Raises:
            SequenceNotStartedError: the id is not known and this is no start.
            TooManySequencesError: a start beyond the limit.
            SequenceBrokenError: an earlier step of the sequence failed while this one waited.
            DeadlineExpiredError: the deadline passed while the step waited for its turn.
        """
        sequence = self._admit(step)
        ticket = _Ticket()
        sequence.line.append(ticket)
        try:
            async with self._turn(sequence, deadline):
                if ticket.failure:
                    raise ticket.failure
                answer, sequence.state = await compute(sequence.state)
                return answer
        except BaseException as exc:
            self._failed(step, sequence, ticket, exc)
            raise
        finally:
            sequence.line.remove(ticket)
            self._rest(step, sequence)

    def forget(self, key: Hashable) -> None:
        """End a sequence without a step, if it is alive."""
        if sequence := self._live.get(key):
            self._drop(key, sequence, "ended")

    def close(self) -> None:
        """Forget every sequence."""
        for sequence in self._live.values():
            sequence.stop_timer()
        self._metrics.sequences(-len(self._live))
        self._live.clear()
        self._empty.set()

    def _admit(self, step: Step) -> Sequence:
        sequence = self._live.get(step.id)
        if step.start:
            if sequence:
                self._drop(step.id, sequence, "restarted")
            elif len(self._live) >= self._max_sequences:
                raise TooManySequencesError(self._max_sequences, retry_seconds=min(self._idle_seconds, 30.0))
            sequence = self._live[step.id] = Sequence(self._initial_state(), any_version=step.any_version)
            self._empty.clear()
            self._metrics.sequences(+1)
        elif sequence is None:
            raise SequenceNotStartedError(step.id, self._model)
        sequence.stop_timer()
        if step.end:  # at once: what comes after it must start anew, also while it runs
            self._drop(step.id, sequence, "ended")
        return sequence

    def _failed(self, step: Step, sequence: Sequence, ticket: _Ticket, error: BaseException) -> None:
        for behind in sequence.line[sequence.line.index(ticket) + 1 :]:
            if behind.failure is None:
                behind.failure = DrainingError() if isinstance(error, DrainingError) else SequenceBrokenError(step.id)
        if step.start and self._live.get(step.id) is sequence:
            self._drop(step.id, sequence, "failed")

    def _rest(self, step: Step, sequence: Sequence) -> None:
        """Begin to wait for the next step, if the sequence is alive and has none."""
        if not sequence.line and not step.lasting and self._live.get(step.id) is sequence:
            loop = asyncio.get_running_loop()
            sequence.idle_timer = loop.call_later(self._idle_seconds, self._drop, step.id, sequence, "idle")

    def _drop(self, key: Hashable, sequence: Sequence, reason: str) -> None:
        sequence.stop_timer()
        del self._live[key]
        self._metrics.sequence_ended(reason)
        self._metrics.sequences(-1)
        if not self._live:
            self._empty.set()

    @asynccontextmanager
    async def _turn(self, sequence: Sequence, deadline: float | None) -> AsyncIterator[None]:
        """Wait for the earlier steps, no longer than the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                await sequence.turn.acquire()
        except TimeoutError as exc:
            self._metrics.dropped("expired")
            raise DeadlineExpiredError from exc
        except asyncio.CancelledError:
            self._metrics.dropped("cancelled")
            raise
        try:
            yield
        finally:
            sequence.turn.release()
