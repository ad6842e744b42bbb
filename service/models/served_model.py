"""A model that answers: it runs what callers have in batches across them, with limits, state and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.backend.contract import Device, Signature, Tensors
from service.errors import SequenceLostError, TaskMismatchError
from service.models.batched import BatchedModel
from service.models.conversations import Conversations
from service.models.finite import NanCheck, finite
from service.models.fitting import to_callers, to_graph
from service.models.loading import LoadedModel
from service.models.model_settings import ModelSettings, Priorities
from service.models.sequences import Step
from service.models.stepper import Stepper
from service.settings import Settings
from service.telemetry.model_metrics import ModelMetrics
from service.telemetry.monitor import Monitor
from zoo.card import FORECAST, SERIES_INPUT, ImageTask, SeriesTask, TextTask

TaskKind = TypeVar("TaskKind", ImageTask, TextTask, SeriesTask)
PRIORITIES = Priorities(levels=3, default=2)
"""Of the tensor API, where a model has none of its own."""

_RPCS = {ImageTask: "ClassifyImages", TextTask: "ClassifyTexts", SeriesTask: "Forecast"}


class ServedModel:
    """One version of a model, ready to answer. Belongs to the event loop that it is made in."""

    def __init__(
        self, name: str, version: int, loaded: LoadedModel, settings: Settings, metrics: ModelMetrics, pool: Executor
    ) -> None:
        """Start to answer.

        Args:
            name: of the model.
            version: of the model.
            loaded: what runs.
            settings: limits.
            metrics: of this version.
            pool: threads that decode, shared by all models.
        """
        self.name = name
        self.version = version
        self.card = loaded.card
        self.signature: Signature = loaded.signature
        """What callers send and see."""
        self.settings: ModelSettings = loaded.settings
        """What is set for this model."""
        self.probe = loaded.probe
        """Inputs of one row that the model is known to answer, if any were found."""
        self.device: Device = loaded.backend.device
        self.metrics = metrics
        self.pool = pool
        """Threads that prepare items."""
        self.max_pixels = settings.max_image_pixels
        """An image may have."""
        self.max_batch_rows = self.signature.most_rows(settings.max_batch_size)
        """Rows that a run may have, by its file and the settings; 0: the model has no batch axis."""
        most = self.settings.max_batch_rows or settings.max_items_per_request
        self.max_request_rows = min(most, settings.max_queue_rows)
        """Rows that one request of the tensor API may have."""
        self.priorities = self.settings.priorities or PRIORITIES
        self._load_seconds, self._golden_error = loaded.seconds, loaded.golden_error
        self._batched = BatchedModel(f"run-{name}-{version}", loaded, settings, metrics)
        self.max_delay_seconds = self._batched.max_delay_seconds
        """How long a request may wait for others to share its batch."""
        self._batcher = self._batched.batcher
        self._check = NanCheck(loaded.graph, refuse=settings.refuse_nan)
        self._stepper = self._open_stepper(loaded.graph, settings)
        self.conversations = Conversations(self._stepper.sequences if self._stepper else None)
        """What it stays for when another one takes its place."""
        self._shown = tuple(spec.name for spec in self.signature.outputs)
        self._monitor = Monitor(self.card, set(self._shown), metrics) if self.card and settings.model_metrics else None

    @property
    def labels(self) -> Sequence[str]:
        """Class names; none for other models than classifiers."""
        return self.card.task.labels if self.card and not isinstance(self.card.task, SeriesTask) else ()

    def labels_of(self, output: str) -> Sequence[str]:
        """Names of the values of an output: those of its own, or the classes of the model."""
        return self.settings.labels.get(output) or self.labels

    def task(self, kind: type[TaskKind]) -> TaskKind:
        """The task, if it is of that kind.

        Raises:
            TaskMismatchError: it is another; the error says what to call instead.
        """
        if self.card and isinstance(self.card.task, kind):
            return self.card.task
        if self.card is None:
            way_out = "has no card; call inference.GRPCInferenceService/ModelInfer with its tensors"
        else:
            way_out = f"is for {self.card.task.kind}; call {_RPCS[type(self.card.task)]}"
        raise TaskMismatchError("model.name", f"model {self.name!r} {way_out}", metadata={"model": self.name})

    async def answer(
        self, items: int, prepare: Callable[[], Awaitable[Tensors]], output: str, deadline: float | None
    ) -> NDArray[np.float32]:
        """Prepare the items of a request, with seats in the queue held for them, and answer them in a batch.

        Args:
            items: how many there are.
            prepare: gives the inputs of the graph, a row for each item.
            output: the one that is wanted.
            deadline: time of the event loop at which the caller stops waiting.

        Raises:
            ServiceError: as `Batcher.submit`, or what `prepare` raises.
        """
        with self._batcher.hold(items) as seats:
            with self.metrics.timed("decode"):
                batch = await prepare()
            outputs = await self._batcher.submit(batch, self._wanted(output), deadline=deadline, seats=seats)
        answer = finite(outputs[output])
        if self._monitor:
            self._monitor.observe(batch, outputs)
        return answer

    async def forecast_step(
        self, history: NDArray[np.float32], deadline: float | None, step: Step
    ) -> NDArray[np.float32]:
        """Forecast what comes after a row, or after the window that it completes: [horizon, targets].

        Args:
            history: rows as `prepare_history` gives them, [window, features].
            deadline: time of the event loop at which the caller stops waiting.
            step: of which stream; passed over by a model that keeps no state.

        Raises:
            ServiceError: as `Batcher.submit` and `Stepper.run`; SequenceLostError where the model has to go.
        """
        if self.conversations.given_up:
            raise SequenceLostError(self.name, self.version)
        inputs: Tensors = {SERIES_INPUT: history[None]}
        if self._stepper:
            outputs = await self._stepper.run(step, inputs, (FORECAST,), deadline)
        else:
            outputs = await self._batcher.submit(inputs, (FORECAST,), deadline=deadline)
        forecast: NDArray[np.float32] = finite(outputs[FORECAST])[0]
        return forecast

    async def infer(
        self,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        *,
        priority: int = 0,
        step: Step | None = None,
    ) -> Tensors:
        """Run the graph on tensors that fit the signature.

        Args:
            inputs: as callers send them.
            outputs: those that are wanted; empty: all.
            deadline: time of the event loop at which the caller stops waiting.
            priority: 1 goes first; 0, or a number that is no level, is the model's default.
            step: of which sequence this is; passed over by a model that keeps no state.

        Raises:
            ServiceError: as `Batcher.submit`; as `Stepper.run` for a model that keeps state.
        """
        batched = self.signature.max_batch != 0
        level = self.priorities.level(priority)
        self._check_queue(level)
        tensors = to_graph(self.settings, inputs, batched=batched)
        names = tuple(outputs) or self._shown
        order = level - self.priorities.default
        if self._stepper:
            answer = await self._stepper.run(step, tensors, names, deadline, order)
        else:
            answer = await self._batcher.submit(tensors, names, deadline=deadline, priority=order)
            self._check(answer)
        if self._monitor:
            self._monitor.observe(tensors, answer)
        return to_callers(self.settings, answer, batched=batched)

    def timeout(self, wanted_seconds: float | None, priority: int) -> float | None:
        """The seconds that a request may take which asks for so many; None: no limit."""
        policy = self.settings.policy(self.priorities.level(priority))
        return policy.timeout(wanted_seconds) if policy else wanted_seconds

    def took_over(self) -> None:
        """It is the one that answers for its version from now on, which the metrics show."""
        self.metrics.loaded(
            device=self.device.name,
            provider=self.device.provider,
            seconds=self._load_seconds,
            golden_error=self._golden_error,
        )

    async def works(self) -> bool:
        """Whether the model answers: by a run that just ended, or else by a probe."""
        return await self._batched.works()

    async def drained(self) -> None:
        """Wait until no request is being answered."""
        await self._batcher.drained()

    async def retire(self) -> None:
        """Answer everybody who still comes, which is nobody once the table gives another model, then close."""
        await self._batcher.drained()
        await self.close()

    async def close(self, timeout_seconds: float = 0.0) -> None:
        """Finish what is under way, then give memory back."""
        await self._batched.close(timeout_seconds)
        if self._stepper:
            self._stepper.close()
        self.metrics.settle()

    def _open_stepper(self, graph: Signature, settings: Settings) -> Stepper | None:
        """What keeps the state of sequences; None: the model has none."""
        if self.settings.sequence is None:
            return None
        return Stepper(
            *(self.name, self.settings.sequence, graph, self._batcher, self.metrics),
            max_sequences=settings.max_sequences,
            idle_seconds=settings.sequence_idle_seconds,
            check=self._check,
        )

    def _wanted(self, output: str) -> tuple[str, ...]:
        """The output that callers get, and those that only the monitor looks at."""
        return (output, *self._monitor.outputs) if self._monitor else (output,)

    def _check_queue(self, level: int) -> None:
        """Refuse a request at the door, where its level of priority has as many as it may."""
        policy = self.settings.policy(level)
        if policy and policy.max_requests is not None:
            self._batcher.check_requests(policy.max_requests, level - self.priorities.default)
