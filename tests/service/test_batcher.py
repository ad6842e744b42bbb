"""The batcher on a fake backend: what goes together, in which order, and who is told what."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.batching.runs import RECOVERY_RUNS
from service.errors import DeadlineExpiredError, DrainingError, InferenceError, OutOfMemoryError, QueueFullError
from tests.service.fakes import BAD, Bench, firsts, rows


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


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
