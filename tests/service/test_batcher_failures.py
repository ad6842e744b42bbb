"""The batcher where runs fail: who is told, and what is run again."""

from __future__ import annotations

import asyncio

import pytest

from service.batching.runs import RECOVERY_RUNS
from service.errors import InferenceError, OutOfMemoryError
from tests.service.fakes import BAD, Bench, firsts, settle


async def test_a_bad_request_fails_alone() -> None:
    bench = Bench()
    busy = await bench.occupy()
    tasks = [bench.ask(1), bench.ask(BAD), bench.ask(3)]
    await settle()
    bench.compute.release()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [dict, InferenceError, dict]
    assert bench.count("retried_batches_total") == 1
    assert "bad row" not in str(results[1]), "details stay in the log"
    assert "bad row" in results[1].detail
    await busy


async def test_a_large_request_that_fails_in_one_part_fails_once() -> None:
    bench = Bench(max_batch_rows=2)
    with pytest.raises(InferenceError):
        await bench.ask(1, 2, BAD, 4, 5, 6)
    assert firsts(await bench.ask(7)) == [7]
    assert bench.compute.batches == [[1, 2], [BAD, 4], [7]]


async def test_an_output_without_the_rows_of_the_batch_is_an_error() -> None:
    bench = Bench()
    bench.compute.loses_rows = True
    with pytest.raises(InferenceError):
        await bench.ask(1, 2)


async def test_a_batch_that_needs_too_much_memory_is_run_in_halves() -> None:
    bench = Bench(max_batch_rows=8)
    busy = await bench.occupy()
    tasks = [bench.ask(1, 2, 3), bench.ask(4), bench.ask(5, 6, 7, 8)]
    await settle()
    bench.compute.memory_rows = 3
    bench.compute.release()
    assert [firsts(answer) for answer in await asyncio.gather(*tasks)] == [[1, 2, 3], [4], [5, 6, 7, 8]]
    assert [len(batch) for batch in bench.compute.batches[1:]] == [8, 4, 2, 2, 4, 2, 2]
    await bench.ask(1, 2, 3, 4, 5)
    assert [len(batch) for batch in bench.compute.batches[8:]] == [2, 2, 1], "batches stay small"
    await busy


async def test_batches_grow_again_when_memory_sufficed_for_a_while() -> None:
    bench = Bench(max_batch_rows=4)
    bench.compute.memory_rows = 1
    assert firsts(await bench.ask(1, 2, 3, 4)) == [1, 2, 3, 4]
    bench.compute.memory_rows = 4
    for _ in range(2 * RECOVERY_RUNS):
        await bench.ask(1)
    bench.compute.batches.clear()
    await bench.ask(1, 2, 3, 4)
    assert bench.compute.batches == [[1, 2, 3, 4]]


async def test_a_row_that_does_not_fit_into_memory_fails_alone_and_the_rest_goes_on() -> None:
    bench = Bench(max_batch_rows=4)
    bench.compute.memory_rows = 0
    with pytest.raises(OutOfMemoryError, match="send less at once"):
        await bench.ask(1)
    bench.compute.memory_rows = 1
    assert firsts(await bench.ask(2, 3)) == [2, 3]
