"""The batcher on a fake backend: what goes together, and in which order."""

from __future__ import annotations

import asyncio

from tests.service.fakes import Bench, firsts, settle


async def test_an_idle_backend_answers_at_once() -> None:
    bench = Bench()
    assert firsts(await bench.ask(3.0)) == [3.0]
    assert bench.compute.batches == [[3.0]]


async def test_what_waits_when_the_backend_becomes_free_is_one_batch() -> None:
    bench = Bench()
    busy = await bench.occupy()
    tasks = [bench.ask(float(value)) for value in (1, 2, 3)]
    await settle()
    bench.compute.release()
    assert [firsts(answer) for answer in await asyncio.gather(*tasks)] == [[1.0], [2.0], [3.0]]
    assert bench.compute.batches == [[0.0], [1.0, 2.0, 3.0]]
    await busy


async def test_a_large_request_goes_over_several_batches_and_comes_back_whole() -> None:
    bench = Bench(max_batch_rows=4)
    values = [float(value) for value in range(1, 11)]
    assert firsts(await bench.ask(*values)) == values
    assert [len(batch) for batch in bench.compute.batches] == [4, 4, 2]


async def test_batches_are_filled_by_cutting_the_last_request() -> None:
    bench = Bench(max_batch_rows=4)
    busy = await bench.occupy()
    first, second = bench.ask(1, 1, 1), bench.ask(2, 2, 2)
    await settle()
    bench.compute.release()
    assert (firsts(await first), firsts(await second)) == ([1.0] * 3, [2.0] * 3)
    assert bench.compute.batches[1:] == [[1, 1, 1, 2], [2, 2]]
    await busy


async def test_only_equal_shapes_and_outputs_share_a_batch() -> None:
    bench = Bench()
    busy = await bench.occupy()
    tasks = [bench.ask(1), bench.ask(2, width=2), bench.ask(3), bench.ask(4, width=2), bench.ask(5, outputs=("y",))]
    await settle()
    bench.compute.release()
    answers = await asyncio.gather(*tasks)
    assert [answer["y"].shape for answer in answers] == [(1, 1), (1, 2), (1, 1), (1, 2), (1, 1)]
    assert bench.compute.batches[1:] == [[1, 3], [2, 4], [5]]
    assert bench.compute.outputs[1:] == [(), (), ("y",)]
    await busy


async def test_a_model_without_batch_axis_runs_every_request_alone() -> None:
    bench = Bench(max_batch_rows=0)
    answers = await asyncio.gather(bench.ask(1, 2, 3), bench.ask(4))
    assert [firsts(answer) for answer in answers] == [[1, 2, 3], [4]]
    assert bench.compute.batches == [[1, 2, 3], [4]]


async def test_the_earliest_deadline_goes_first() -> None:
    bench = Bench(max_batch_rows=1)
    busy = await bench.occupy()
    tasks = [bench.ask(1), bench.ask(2, within=20), bench.ask(3, within=10)]
    await settle()
    bench.compute.release()
    await asyncio.gather(busy, *tasks)
    assert bench.compute.batches == [[0], [3], [2], [1]]


async def test_a_higher_priority_goes_before_any_deadline() -> None:
    bench = Bench(max_batch_rows=1)
    busy = await bench.occupy()
    tasks = [bench.ask(1, priority=1, within=5), bench.ask(2, within=20), bench.ask(3), bench.ask(4, priority=-1)]
    await settle()
    bench.compute.release()
    await asyncio.gather(busy, *tasks)
    assert bench.compute.batches == [[0], [4], [2], [3], [1]]


async def test_waiting_on_purpose_gathers_a_batch_and_ends_when_it_is_full() -> None:
    bench = Bench(max_batch_rows=3, max_delay_seconds=5)
    tasks = [bench.ask(1), bench.ask(2)]
    await settle()
    assert bench.compute.batches == []
    tasks.append(bench.ask(3))
    await asyncio.wait_for(asyncio.gather(*tasks), 2)
    assert bench.compute.batches == [[1, 2, 3]]


async def test_waiting_on_purpose_ends_in_time() -> None:
    bench = Bench(max_delay_seconds=0.01)
    assert firsts(await asyncio.wait_for(bench.ask(1), 2)) == [1]


async def test_a_caller_in_a_hurry_is_not_made_to_wait() -> None:
    bench = Bench(max_delay_seconds=5)
    assert firsts(await bench.ask(1, within=1)) == [1]
