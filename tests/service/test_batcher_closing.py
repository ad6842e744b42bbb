"""The batcher at its end: what is here is finished, what comes is refused, and nobody hangs."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import DrainingError
from tests.service.fakes import Bench, firsts, rows, settle


async def test_closing_finishes_what_is_here_and_refuses_what_comes() -> None:
    bench = Bench()
    busy = await bench.occupy()
    waiting = bench.ask(1)
    await settle()
    closing = asyncio.create_task(bench.batcher.close(5))
    await settle()
    with pytest.raises(DrainingError):
        await bench.ask(2)
    bench.compute.release()
    await closing
    assert firsts(await busy) == [0]
    assert firsts(await waiting) == [1]


async def test_closing_in_time_fails_what_does_not_end() -> None:
    bench = Bench()
    busy = await bench.occupy()
    waiting = bench.ask(1)
    await settle()
    await bench.batcher.close(0.01)
    results = await asyncio.gather(busy, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [DrainingError, DrainingError]


async def test_closing_before_the_worker_ever_ran_leaves_nobody_hanging() -> None:
    bench = Bench()
    task = bench.ask(1)
    await bench.batcher.close(0)
    (result,) = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 1)
    assert isinstance(result, DrainingError)


async def test_seats_held_before_closing_are_honoured() -> None:
    bench = Bench()
    with bench.batcher.hold(1) as seats:
        closing = asyncio.create_task(bench.batcher.close(5))
        await settle()
        answer = await bench.batcher.submit(rows(1), seats=seats)
    await closing
    assert firsts(answer) == [1]
