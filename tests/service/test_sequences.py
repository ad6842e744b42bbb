"""Sequences under any order of events: no state leaks, steps stay in order, nothing is kept for ever."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.backend.contract import DTYPES, Signature, Tensors, TensorSpec
from service.batching.batcher import Batcher
from service.batching.rules import BatchRules
from service.batching.runs import Computed
from service.batching.waiting_line import stack
from service.errors import (
    DeadlineExpiredError,
    DrainingError,
    InferenceError,
    QueueFullError,
    SequenceBrokenError,
    SequenceError,
    SequenceNotStartedError,
    TooManySequencesError,
)
from service.models.fitting import facts
from service.models.model_settings import Control, Fact, SequenceSettings, State
from service.models.sequences import Step
from service.models.stepper import Stepper
from service.telemetry.metrics import Metrics
from tests.service.fakes import BAD

SEQUENCE = SequenceSettings(states=(State("state", "next", "FP32", (2,)),))
GRAPH = Signature(
    (TensorSpec("x", "FP32", (-1, 1)), TensorSpec("state", "FP32", (-1, 2))),
    (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("next", "FP32", (-1, 2))),
    None,
)
MAX_SEQUENCES, MAX_BATCH = 3, 4
IDLE_SECONDS = 0.002


class PoisonedCompute:
    """Every sequence sends a number of its own. The state is that number and how many steps it saw; the answer is the
    state that came in. All that a run gives is poisoned after use, as memory that is used again would be."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.started = asyncio.Event()
        self._given: list[np.ndarray] = []
        self._go = asyncio.Event()
        self._go.set()

    def hold(self, held: bool) -> None:
        """Whether runs wait."""
        self._go.clear() if held else self._go.set()

    async def __call__(self, parts: Sequence[Tensors], outputs: Sequence[str]) -> Computed:
        self.started.set()
        inputs = stack(parts)
        await asyncio.sleep(0)
        await self._go.wait()
        for array in self._given:
            array.fill(np.nan)
        x, state = inputs["x"], inputs["state"]
        self.batches.append(len(x))
        if (x == BAD).any():
            raise RuntimeError("a bad row")
        answers = {"y": state.copy(), "next": np.concatenate([x, state[:, 1:] + 1], axis=1)}
        self._given = [answers["next"]]
        return Computed({name: answers[name] for name in outputs})


class Sequences:
    """Sequences on a fake backend."""

    def __init__(self, idle_seconds: float = 60.0) -> None:
        self.metrics = Metrics()
        self.compute = PoisonedCompute()
        metrics = self.metrics.for_model("fake", 1)
        self.batcher = Batcher(self.compute, metrics, BatchRules(max_rows=MAX_BATCH), max_queue_rows=16)
        self.stepper = Stepper(
            *("fake", SEQUENCE, GRAPH, self.batcher, metrics), max_sequences=MAX_SEQUENCES, idle_seconds=idle_seconds
        )

    def ask(
        self, key: Any, x: float, *, start: bool = False, end: bool = False, within: float | None = None
    ) -> asyncio.Task[Tensors]:
        """One step."""
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        inputs: Tensors = {"x": np.array([[x]], np.float32)}
        return asyncio.create_task(self.stepper.run(Step(key, start, end), inputs, ("y",), deadline))

    def alive(self) -> float:
        """Sequences whose state is kept, as the gauge says."""
        labels = {"model": "fake", "version": "1"}
        return self.metrics.registry.get_sample_value("menagerie_sequences", labels) or 0.0

    def ended(self, reason: str) -> float:
        """Sequences that ended so."""
        labels = {"model": "fake", "version": "1", "reason": reason}
        return self.metrics.registry.get_sample_value("menagerie_sequences_ended_total", labels) or 0.0


def state_of(answer: Tensors) -> list[float]:
    """The state that a step saw: whose it was, and how many steps."""
    values: list[float] = answer["y"][0].tolist()
    return values


async def test_state_goes_from_step_to_step() -> None:
    bench = Sequences()
    seen = [state_of(await bench.ask(7, 5, start=not step, end=step == 3)) for step in range(4)]
    assert seen == [[0, 0], [5, 1], [5, 2], [5, 3]]
    assert bench.alive() == 0
    with pytest.raises(SequenceNotStartedError, match="must specify the START flag on the first request of the seq"):
        await bench.ask(7, 5)


async def test_steps_of_different_sequences_share_a_batch_and_those_of_one_do_not() -> None:
    bench = Sequences()
    bench.compute.hold(True)
    first = bench.ask("a", 1, start=True)
    await bench.compute.started.wait()
    others = [bench.ask("a", 1), bench.ask("a", 1), bench.ask("b", 2, start=True), bench.ask(3, 3, start=True)]
    for _ in range(5):
        await asyncio.sleep(0)
    bench.compute.hold(False)
    answers = await asyncio.gather(first, *others)
    assert [state_of(answer) for answer in answers] == [[0, 0], [1, 1], [1, 2], [0, 0], [0, 0]]
    assert bench.compute.batches == [1, 2, 1, 1]


async def test_an_integer_and_a_text_are_different_ids() -> None:
    bench = Sequences()
    await bench.ask(1, 10, start=True)
    await bench.ask("1", 20, start=True)
    assert state_of(await bench.ask(1, 10)) == [10, 1]


async def test_a_start_begins_from_zero_also_while_the_id_is_alive() -> None:
    bench = Sequences()
    bench.compute.hold(True)
    steps = [bench.ask(1, 10, start=True), bench.ask(1, 10), bench.ask(1, 20, start=True), bench.ask(1, 20)]
    await bench.compute.started.wait()
    bench.compute.hold(False)
    assert [state_of(await step) for step in steps] == [[0, 0], [10, 1], [0, 0], [20, 1]]
    assert (bench.alive(), bench.ended("restarted")) == (1, 1)


async def test_a_failed_step_leaves_the_state_and_fails_those_behind_it() -> None:
    bench = Sequences()
    await bench.ask(1, 10, start=True)
    failed, behind = bench.ask(1, BAD), bench.ask(1, 10)
    with pytest.raises(InferenceError):
        await failed
    with pytest.raises(SequenceBrokenError, match="an earlier step of sequence 1 failed"):
        await behind
    assert state_of(await bench.ask(1, 10)) == [10, 1]


async def test_a_step_that_is_cancelled_fails_none_before_it() -> None:
    bench = Sequences()
    bench.compute.hold(True)
    first, second, third, fourth = (bench.ask(1, 10, start=not step) for step in range(4))
    await bench.compute.started.wait()
    third.cancel()
    await asyncio.sleep(0)
    bench.compute.hold(False)
    assert [state_of(await step) for step in (first, second)] == [[0, 0], [10, 1]]
    with pytest.raises(SequenceBrokenError):
        await fourth
    assert state_of(await bench.ask(1, 10)) == [10, 2]


async def test_a_start_that_fails_started_nothing() -> None:
    bench = Sequences()
    with pytest.raises(InferenceError):
        await bench.ask(1, BAD, start=True)
    assert (bench.alive(), bench.ended("failed")) == (0, 1)
    with pytest.raises(SequenceNotStartedError):
        await bench.ask(1, 10)


async def test_a_deadline_is_exact_while_a_step_waits_for_its_turn() -> None:
    bench = Sequences()
    bench.compute.hold(True)
    first = bench.ask(1, 10, start=True)
    await bench.compute.started.wait()
    start = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExpiredError):
        await bench.ask(1, 10, within=0.03)
    assert 0.02 < asyncio.get_running_loop().time() - start < 5, "the step before it never ends"
    bench.compute.hold(False)
    await first


async def test_an_idle_sequence_is_dropped_and_a_busy_one_is_not() -> None:
    bench = Sequences(idle_seconds=0.3)
    await asyncio.gather(bench.ask(1, 10, start=True), bench.ask(2, 20, start=True))
    for _ in range(5):
        await asyncio.sleep(0.1)
        await bench.ask(2, 20)
    assert (bench.alive(), bench.ended("idle")) == (1, 1)
    with pytest.raises(SequenceNotStartedError):
        await bench.ask(1, 10)


async def test_the_number_of_sequences_is_limited() -> None:
    bench = Sequences()
    await asyncio.gather(*(bench.ask(key, 10, start=True) for key in range(1, MAX_SEQUENCES + 1)))
    with pytest.raises(TooManySequencesError) as caught:
        await bench.ask(99, 10, start=True)
    assert caught.value.retry_seconds
    await bench.ask(1, 10, start=True)  # an id that is alive needs no further room
    await bench.ask(2, 10, end=True)
    await bench.ask(99, 10, start=True)


async def test_a_request_without_an_id_or_of_two_rows() -> None:
    bench = Sequences()
    with pytest.raises(SequenceError, match="must specify a non-zero or non-empty correlation ID"):
        await bench.stepper.run(None, {"x": np.ones((1, 1), np.float32)}, ("y",), None)
    with pytest.raises(SequenceError, match="must specify batch-size 1"):
        await bench.stepper.run(Step(1, start=True), {"x": np.ones((2, 1), np.float32)}, ("y",), None)


async def test_a_state_of_another_shape_is_an_error_of_the_model() -> None:
    bench = Sequences()

    async def shrink(parts: Sequence[Tensors], outputs: Sequence[str]) -> Computed:
        rows = sum(len(part["x"]) for part in parts)
        return Computed({"y": np.zeros((rows, 2), np.float32), "next": np.zeros((rows, 1), np.float32)})

    bench.batcher._runs._compute = shrink
    with pytest.raises(InferenceError) as caught:
        await bench.ask(1, 10, start=True)
    assert "state 'next' has shape (1, 1)" in caught.value.detail


async def test_a_server_that_stops_says_so_to_every_step() -> None:
    bench = Sequences()
    bench.compute.hold(True)
    steps = [bench.ask(1, 10, start=True), bench.ask(1, 10), bench.ask(1, 10, end=True), bench.ask(2, 20, start=True)]
    await bench.compute.started.wait()
    await bench.batcher.close(0.01)
    results = await asyncio.wait_for(asyncio.gather(*steps, return_exceptions=True), 1)
    assert {type(result) for result in results} == {DrainingError}


async def test_a_step_whose_outputs_are_refused_leaves_the_state() -> None:
    bench = Sequences()

    def refuse(outputs: Tensors) -> None:
        if outputs["next"][0, 0] == 666:
            raise InferenceError("not kept")

    bench.stepper._check = refuse
    await bench.ask(1, 10, start=True)
    with pytest.raises(InferenceError):
        await bench.ask(1, 666)
    assert state_of(await bench.ask(1, 10)) == [10, 1]


@pytest.mark.parametrize(
    ("datatype", "key", "value"),
    [
        ("INT64", -5, -5),
        ("UINT64", 2**64 - 1, 2**64 - 1),
        ("UINT64", -1, 2**64 - 1),
        ("UINT32", 2**40 + 7, 7),
        ("INT32", 2**31, -(2**31)),
        ("BYTES", 12, "12"),
        ("BYTES", "twelve", "twelve"),
    ],
)
def test_the_id_as_the_graph_takes_it(datatype: str, key: int | str, value: object) -> None:
    sequence = SequenceSettings(controls=(Control("id", Fact.ID, datatype),))
    graph = Signature((TensorSpec("id", datatype, (-1, 1)),), (), None)
    told = facts(sequence, graph, key=key)["id"]
    assert (told.shape, told.dtype, told.tolist()) == ((1, 1), DTYPES[datatype], [[value]])


def test_facts_as_the_graph_takes_them() -> None:
    kinds = {"start": Fact.START, "end": Fact.END, "ready": Fact.READY}
    sequence = SequenceSettings(controls=tuple(Control(name, fact, "FP32", -1, 1) for name, fact in kinds.items()))
    graph = Signature(tuple(TensorSpec(name, "FP32", (-1,)) for name in kinds), (), None)
    told = facts(sequence, graph, key=1, start=True)
    assert {name: value.tolist() for name, value in told.items()} == {"start": [1], "end": [-1], "ready": [1]}


@dataclass(frozen=True)
class Ask:
    key: int
    start: bool
    end: bool
    bad: bool
    within: float | None


@dataclass(frozen=True)
class Cancel:
    which: int


@dataclass(frozen=True)
class Backend:
    held: bool


@dataclass(frozen=True)
class Pause:
    steps: int


@dataclass(frozen=True)
class Idle:
    pass


asks = st.builds(
    Ask,
    key=st.integers(1, 4),
    start=st.integers(0, 3).map(lambda value: value == 0),
    end=st.integers(0, 5).map(lambda value: value == 0),
    bad=st.integers(0, 8).map(lambda value: value == 0),
    within=st.sampled_from([None, None, None, None, 0.0, 0.001]),
)
events = st.one_of(
    *[asks] * 4,
    st.builds(Cancel, st.integers(0, 30)),
    st.builds(Backend, st.booleans()),
    st.builds(Pause, st.integers(0, 6)),
    st.builds(Idle),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=40))
def test_no_state_leaks_whatever_happens(script: list[Any]) -> None:
    asyncio.run(asyncio.wait_for(_play(script), 10))


async def _play(script: list[Any]) -> None:
    bench = Sequences(IDLE_SECONDS)
    lives: dict[int, float] = defaultdict(float)
    asked: list[tuple[Ask, float, asyncio.Task[Tensors]]] = []
    for event in script:
        match event:
            case Ask(key, start, end, bad, within):
                if start:
                    lives[key] = len(asked) + 100.0  # a number of its own for every life of an id
                x = BAD if bad else lives[key]
                asked.append((event, lives[key], bench.ask(key, x, start=start, end=end, within=within)))
            case Cancel(which) if asked:
                await asyncio.sleep(0)  # a step that was cancelled before it was sent never happened
                asked[which % len(asked)][2].cancel()
            case Backend(held):
                bench.compute.hold(held)
            case Pause(steps):
                for _ in range(steps):
                    await asyncio.sleep(0)
            case Idle():
                await asyncio.sleep(2 * IDLE_SECONDS)
    bench.compute.hold(False)
    results = await asyncio.wait_for(asyncio.gather(*(task for *_, task in asked), return_exceptions=True), 1)
    steps: dict[float, int] = defaultdict(int)
    failed: set[float] = set()
    for (ask, life, _), result in zip(asked, results, strict=True):
        if isinstance(result, dict):
            # Exactly the state that the steps before this one, of the same life of the same id, have left.
            assert state_of(result) == [life if steps[life] else 0, steps[life]]
            steps[life] += 1
        else:
            assert life in failed or not isinstance(result, SequenceBrokenError), "a step before it failed"
            _check_failure(ask, result)
            failed.add(life)
    await asyncio.sleep(3 * IDLE_SECONDS)
    assert bench.alive() == 0
    await bench.batcher.close()


def _check_failure(ask: Ask, result: Any) -> None:
    allowed: tuple[type[BaseException], ...] = (asyncio.CancelledError, DrainingError, QueueFullError)
    allowed += (SequenceBrokenError, TooManySequencesError)
    if not ask.start:
        allowed += (SequenceNotStartedError,)
    if ask.bad:
        allowed += (InferenceError,)
    if ask.within is not None:
        allowed += (DeadlineExpiredError,)
    assert isinstance(result, allowed), result
