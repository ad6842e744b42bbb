"""Many callers at once, over a real channel and real models."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from tests.service.calls import Calls, Failure, failure, infer_request
from tests.service.conftest import Serve

LONG = np.array([[500_000_000]], np.int64)
"""Rounds that take far longer than a test."""
SHORT = np.array([[300_000]], np.int64)
"""Rounds that keep the model busy for some tenths of a second."""


async def test_concurrent_requests_share_batches(calls: Calls) -> None:
    busy = asyncio.create_task(calls.infer("busy", {"rounds": SHORT}))
    await _until_running(calls, "busy")
    answers = await asyncio.gather(*(calls.infer("busy", {"rounds": np.array([[n]])}) for n in range(40)))
    await busy
    assert [float(answer["y"][0, 0]) for answer in answers] == list(range(40))
    runs = await calls.metric("menagerie_batch_rows_count", model="busy")
    rows = await calls.metric("menagerie_batch_rows_sum", model="busy")
    assert rows == 41
    assert rows / runs > 4


async def test_a_bad_request_in_a_batch_fails_alone(calls: Calls) -> None:
    indexes = [1, 99, 2, 3, -77, 4]
    for _ in range(5):
        results = await asyncio.gather(
            *(calls.infer("lookup", {"index": np.array([[index]])}) for index in indexes * 4), return_exceptions=True
        )
        for index, result in zip(indexes * 4, results, strict=True):
            if 0 <= index < 10:
                assert isinstance(result, dict)
                assert result["y"].tolist() == [[10 * index]]
            else:
                assert isinstance(result, grpc.aio.AioRpcError)
                assert result.code() is grpc.StatusCode.INTERNAL


async def test_the_callers_deadline_is_kept_while_the_model_is_busy(calls: Calls) -> None:
    long = _keep_busy(calls)
    await _until_running(calls, "busy")
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.infer("busy", {"rounds": SHORT}, timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert loop.time() - start < 1
    assert await _becomes(calls, "menagerie_dropped_requests_total", 1, model="busy", reason="expired")
    long.cancel()


async def test_a_cancelled_caller_is_dropped_before_compute(calls: Calls) -> None:
    long = _keep_busy(calls)
    await _until_running(calls, "busy")
    waiting = calls.inference.ModelInfer(infer_request("busy", {"rounds": SHORT}))
    assert await _becomes(calls, "menagerie_queue_rows", 1, model="busy")
    waiting.cancel()
    assert await _becomes(calls, "menagerie_dropped_requests_total", 1, model="busy", reason="cancelled")
    assert await calls.metric("menagerie_queue_rows", model="busy") == 0
    assert await _becomes(calls, "menagerie_requests_total", 1, model="busy", code="CANCELLED")
    long.cancel()


async def test_a_full_queue_says_so_and_when_to_come_back(serve: Serve) -> None:
    calls = await serve(max_queue_rows=4, max_items_per_request=4)
    long = _keep_busy(calls)
    await _until_running(calls, "busy")
    results = await asyncio.gather(*(_outcome(calls) for _ in range(7)))
    refused = [result for result in results if result.code is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert len(refused) == 3
    assert refused[0].info.reason == "QUEUE_FULL"
    assert refused[0].retry_seconds is not None
    assert "limit of 4" in refused[0].message
    assert await calls.metric("menagerie_rejected_requests_total", model="busy") == 3
    assert (await calls.infer("affine", {"x": np.ones((1, 3), np.float32)}))["y"].size, "other models are not busy"
    long.cancel()


def _keep_busy(calls: Calls) -> asyncio.Task[dict[str, np.ndarray]]:
    return asyncio.create_task(calls.infer("busy", {"rounds": LONG}))


async def _outcome(calls: Calls) -> Failure:
    try:
        return await failure(calls.infer("busy", {"rounds": SHORT}, timeout=0.3))
    except KeyError:  # the client's own timer fired first, so there is no status from the server
        return Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "", None, {}, None, "")  # type: ignore[arg-type]


async def _until_running(calls: Calls, model: str) -> None:
    """Wait for the first run of a model."""
    assert await _becomes(calls, "menagerie_batch_rows_count", 1, model=model)


async def _becomes(calls: Calls, name: str, value: float, **labels: str) -> bool:
    """Wait until a metric has a value; False after five seconds."""
    for _ in range(250):
        if await calls.metric(name, **labels) == value:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_thousands_of_requests_on_one_connection_are_answered_or_refused_in_words(calls: Calls) -> None:
    async def ask() -> grpc.StatusCode:
        try:
            await calls.infer("affine", {"x": np.ones((1, 3), np.float32)})
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    found = set(await asyncio.gather(*(ask() for _ in range(3500))))
    assert found <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
