"""The batcher with several runs at a time, and what each of them takes."""

from __future__ import annotations

import asyncio

from tests.service.fakes import Bench, firsts, settle


async def test_several_runs_at_a_time_share_one_line() -> None:
    bench = Bench(max_batch_rows=2, runs=3)
    bench.compute.hold()
    tasks = [bench.ask(value) for value in range(8)]
    await settle()
    assert bench.compute.batches == [[0, 1], [2, 3], [4, 5]], "the fourth batch waits"
    bench.compute.release()
    assert [firsts(answer) for answer in await asyncio.gather(*tasks)] == [[value] for value in range(8)]
    assert bench.compute.batches[3:] == [[6, 7]]


async def test_spare_runs_take_full_batches_only() -> None:
    bench = Bench(max_batch_rows=2, spare_runs=1)
    busy = await bench.occupy()
    first = bench.ask(1)
    await settle()
    assert bench.compute.batches == [[0]], "one row waits for the run that is under way"
    others = [bench.ask(value) for value in (2, 3)]
    await settle()
    assert bench.compute.batches == [[0], [1, 2]], "two rows are a full batch, and the third waits again"
    bench.compute.release()
    assert [firsts(answer) for answer in await asyncio.gather(busy, first, *others)] == [[0], [1], [2], [3]]


async def test_side_by_side_a_batch_leaves_rows_to_the_runs_beside_it() -> None:
    bench = Bench(max_batch_rows=4, runs=2, side_by_side=True, row_seconds=1e3)
    busy = await bench.occupy()
    tasks = [bench.ask(value) for value in range(1, 8)]
    await settle()
    assert bench.compute.batches == [[0], [1, 2]], "half of an even share of seven rows, rounded up"
    assert bench.count("batches_total", reason="share") == 1
    bench.compute.release()
    assert [firsts(answer) for answer in await asyncio.gather(busy, *tasks)] == [[value] for value in range(8)]
    assert [len(batch) for batch in bench.compute.batches[2:]] == [2, 1, 1, 1]


async def test_side_by_side_batches_are_full_where_there_are_rows_for_all() -> None:
    bench = Bench(max_batch_rows=4, runs=2, side_by_side=True, row_seconds=1e3)
    busy = await bench.occupy()
    tasks = [bench.ask(value) for value in range(1, 9)]
    await settle()
    assert bench.compute.batches == [[0], [1, 2, 3, 4]]
    bench.compute.release()
    await asyncio.gather(busy, *tasks)


async def test_a_row_waits_for_a_lone_run_that_is_nearly_over() -> None:
    bench = Bench(runs=2, side_by_side=True, row_seconds=1e3)
    busy = await bench.occupy()
    early = bench.ask(1)
    await settle()
    assert bench.compute.batches == [[0], [1]], "it had just begun"
    bench.compute.release()
    await asyncio.gather(busy, early)

    bench = Bench(runs=2, side_by_side=True, row_seconds=1.0)
    busy = await bench.occupy()
    await asyncio.sleep(0.6)
    late = bench.ask(1)
    await settle()
    assert bench.compute.batches == [[0]]
    bench.compute.release()
    assert firsts(await late) == [1]
    await busy


async def test_a_lone_run_that_takes_longer_than_expected_is_not_waited_for() -> None:
    bench = Bench(runs=2, side_by_side=True, row_seconds=0.02)
    busy = await bench.occupy()
    await asyncio.sleep(0.015)
    late = bench.ask(1)
    await asyncio.sleep(0.05)
    assert bench.compute.batches == [[0], [1]]
    bench.compute.release()
    await asyncio.gather(busy, late)


async def test_a_request_over_several_runs_comes_back_in_order() -> None:
    bench = Bench(max_batch_rows=2, runs=3)
    values = [float(value) for value in range(20)]
    assert firsts(await bench.ask(*values)) == values
