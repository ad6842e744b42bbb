"""The line of the batcher: how many may wait and for how long, and who leaves it."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.errors import DeadlineExpiredError, QueueFullError
from tests.service.fakes import Bench, firsts, settle


async def test_a_full_queue_refuses_at_the_door_and_says_when_to_come_back() -> None:
    bench = Bench(max_queue_rows=4)
    busy = await bench.occupy()
    waiting = bench.ask(1, 2, 3)
    await settle()
    with pytest.raises(QueueFullError, match=r"3 items wait, 2 more would pass the limit of 4") as caught:
        await bench.ask(1, 2)
    assert caught.value.retry_seconds is not None
    assert caught.value.retry_seconds > 0
    assert bench.count("rejected_requests_total") == 1
    last = bench.ask(4)
    bench.compute.release()
    assert firsts(await last) == [4]
    await asyncio.gather(busy, waiting)


async def test_what_waits_may_take_so_long_and_no_longer() -> None:
    bench = Bench(max_queue_rows=1000, max_queue_seconds=2.0, row_seconds=0.5)
    busy = await bench.occupy()
    many = bench.ask(*range(1, 11))
    await settle()
    with pytest.raises(QueueFullError, match=r"10 items wait, 1 more would pass the limit of 4"):
        await bench.ask(1)
    bench.compute.release()
    assert len(firsts(await many)) == 10, "let in, since nobody waited"
    await busy
    for _ in range(60):
        await bench.ask(1)
    busy = await bench.occupy()
    more = [bench.ask(*range(8)) for _ in range(10)]
    await settle()
    assert bench.count("rejected_requests_total") == 1, "runs have turned out to be quick"
    bench.compute.release()
    await asyncio.gather(busy, *more)


async def test_seats_are_held_while_inputs_are_being_decoded() -> None:
    bench = Bench(max_queue_rows=4)
    with bench.batcher.hold(4):
        assert bench.count("queue_rows") == 4
        with pytest.raises(QueueFullError):
            await bench.ask(1)
    assert bench.count("queue_rows") == 0
    assert firsts(await bench.ask(1)) == [1]


async def test_a_deadline_is_kept_while_the_backend_is_busy() -> None:
    bench = Bench()
    busy = await bench.occupy()
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(DeadlineExpiredError):
        await bench.ask(1, within=0.02)
    assert 0.02 <= loop.time() - start < 5
    assert bench.count("dropped_requests_total", reason="expired") == 1
    bench.compute.release()
    await busy
    await settle()
    assert bench.compute.batches == [[0]], "expired work is never computed"


async def test_a_deadline_in_the_past_is_refused_without_waiting() -> None:
    bench = Bench()
    with pytest.raises(DeadlineExpiredError):
        await bench.ask(1, within=-1)
    assert bench.compute.batches == []


async def test_cancelled_work_is_dropped_before_compute_and_neighbours_stay() -> None:
    bench = Bench()
    busy = await bench.occupy()
    tasks = [bench.ask(1), bench.ask(2), bench.ask(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    bench.compute.release()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert bench.compute.batches[1:] == [[1, 3]]
    assert bench.count("dropped_requests_total", reason="cancelled") == 1
    await busy


async def test_a_caller_that_leaves_during_its_run_disturbs_nobody() -> None:
    bench = Bench()
    bench.compute.hold()
    tasks = [bench.ask(1), bench.ask(2)]
    await settle()
    tasks[0].cancel()
    await settle()
    bench.compute.release()
    assert firsts(await tasks[1]) == [2]
    assert bench.count("dropped_requests_total", reason="cancelled") == 0, "it was computed"


@pytest.mark.parametrize("now", [0.0, 1e12])
async def test_a_clock_that_jumps_changes_no_timer(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    bench = Bench(max_delay_seconds=0.01)
    busy = await bench.occupy()
    monkeypatch.setattr(time, "time", lambda: now)
    with pytest.raises(DeadlineExpiredError):
        await asyncio.wait_for(bench.ask(1, within=0.02), 2)
    waiting = bench.ask(2, within=30)
    bench.compute.release()
    assert firsts(await asyncio.wait_for(waiting, 2)) == [2]
    await busy
