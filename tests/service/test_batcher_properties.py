"""The batcher under any order of events: every answer belongs to its question, and nobody is left hanging."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import DeadlineExpiredError, DrainingError, InferenceError, OutOfMemoryError, QueueFullError
from tests.service.fakes import BAD, Answer, Bench, firsts

MAX_BATCH, MAX_QUEUE = 4, 12


@dataclass(frozen=True)
class Ask:
    rows: int
    width: int
    bad: bool
    deadline: float | None
    priority: int


@dataclass(frozen=True)
class Cancel:
    which: int


@dataclass(frozen=True)
class Backend:
    held: bool


@dataclass(frozen=True)
class Memory:
    rows: int
    """0: even a single row is too much."""


@dataclass(frozen=True)
class Pause:
    steps: int


@dataclass(frozen=True)
class Close:
    timeout: float


asks = st.builds(
    Ask,
    rows=st.integers(1, 10),
    width=st.integers(1, 2),
    bad=st.integers(0, 5).map(lambda value: value == 0),
    deadline=st.sampled_from([None, None, None, 0.0, 0.001, 5.0]),
    priority=st.sampled_from([0, 0, -1, 1]),
)
events = st.one_of(
    asks,
    asks,
    st.builds(Cancel, st.integers(0, 20)),
    st.builds(Backend, st.booleans()),
    st.builds(Memory, st.sampled_from([0, 1, 2, 3, 100])),
    st.builds(Pause, st.integers(0, 6)),
)
rules = st.sampled_from(
    [
        {},
        {"runs": 3},
        {"spare_runs": 2},
        {"runs": 2, "side_by_side": True},
        {"runs": 3, "side_by_side": True, "row_seconds": 0.001},
    ]
)
endings = st.sampled_from([Close(0.0), Close(0.001), Close(1.0)])


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=30), endings, st.sampled_from([0.0, 0.001]), rules)
def test_any_order_of_events(script: list[Any], ending: Close, max_delay: float, rules: dict[str, Any]) -> None:
    asyncio.run(asyncio.wait_for(_play(script, ending, max_delay, rules), 10))


async def _play(script: list[Any], ending: Close, max_delay: float, rules: dict[str, Any]) -> None:
    limits = {"max_batch_rows": MAX_BATCH, "max_queue_rows": MAX_QUEUE}
    bench = Bench(**limits, max_delay_seconds=max_delay, **rules)
    asked: list[tuple[Ask, list[float], Answer]] = []
    for event in script:
        match event:
            case Ask(rows, width, bad, deadline, priority):
                values = [float(100 * (len(asked) + 1) + row) for row in range(rows)]
                if bad:
                    values[-1] = BAD
                asked.append((event, values, bench.ask(*values, width=width, within=deadline, priority=priority)))
            case Cancel(which) if asked:
                asked[which % len(asked)][2].cancel()
            case Memory(rows):
                bench.compute.memory_rows = rows
            case Backend(held):
                bench.compute.hold() if held else bench.compute.release()
            case Pause(steps):
                for _ in range(steps):
                    await asyncio.sleep(0)
        assert bench.batcher.waiting_rows <= MAX_QUEUE
    if ending.timeout == 1.0:
        bench.compute.release()
    await bench.batcher.close(ending.timeout)
    results = await asyncio.wait_for(asyncio.gather(*(task for *_, task in asked), return_exceptions=True), 1)
    for (ask, values, _), result in zip(asked, results, strict=True):
        _check(ask, values, result, too_little_memory=Memory(0) in script)
    assert all(len(batch) <= MAX_BATCH for batch in bench.compute.batches)
    assert bench.batcher.waiting_rows == 0


def _check(ask: Ask, values: list[float], result: Any, *, too_little_memory: bool) -> None:
    if isinstance(result, dict):
        assert not ask.bad
        assert firsts(result) == values
        assert result["y"].shape == (ask.rows, ask.width)
        return
    allowed: tuple[type[BaseException], ...] = (asyncio.CancelledError, DrainingError, QueueFullError)
    if ask.bad:
        allowed += (InferenceError,)
    if too_little_memory:
        allowed += (OutOfMemoryError,)
    if ask.deadline is not None:
        allowed += (DeadlineExpiredError,)
    assert isinstance(result, allowed), result
