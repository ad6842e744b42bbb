"""ModelStreamInfer: answers in order, errors in their places, and what a stopping server does with a stream."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from service.servicers.streams import in_order
from tests.service import plain_graphs
from tests.service.calls import Calls, infer_request, numbers, read_failure
from tests.service.conftest import Serve, add_plain

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def lookup(index: int, **fields: str) -> pb.ModelInferRequest:
    """Ask the model `lookup`, whose answer is ten times the index, for 0 to 9; any other makes the run fail."""
    request = infer_request("lookup", {"index": np.array([[index]])})
    request.id = str(index)
    request.MergeFrom(pb.ModelInferRequest(**fields))
    return request


def busy(rounds: int) -> pb.ModelInferRequest:
    return infer_request("busy", {"rounds": np.array([[rounds]])})


async def exchange(
    calls: Calls, requests: Iterable[pb.ModelInferRequest], **options: object
) -> list[pb.ModelStreamInferResponse]:
    return [response async for response in calls.inference.ModelStreamInfer(iter(requests), **options)]


async def test_answers_come_in_order_however_long_each_takes(calls: Calls) -> None:
    requests = [busy(500_000), *map(lookup, range(10)), busy(200_000), *map(lookup, range(10))]
    responses = await exchange(calls, requests)
    assert not any(response.error_message for response in responses)
    values = [float(value[0, 0]) for response in responses for value in numbers(response.infer_response).values()]
    assert values == [500_000, *range(0, 100, 10), 200_000, *range(0, 100, 10)]


async def test_requests_of_a_stream_share_batches(calls: Calls) -> None:
    blocker = asyncio.create_task(exchange(calls, [busy(500_000)] + [busy(1)] * 20))
    assert len(await blocker) == 21
    (stats,) = (await calls.inference.ModelStatistics(pb.ModelStatisticsRequest(name="busy"))).model_stats
    assert stats.inference_count == 21
    assert stats.execution_count <= 4


async def test_a_failed_request_leaves_the_stream_and_its_neighbours_alone(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        responses = await exchange(
            calls, [lookup(1), lookup(99), lookup(2, model_name="nobody"), lookup(3, model_version="x"), lookup(4)]
        )
    first, failed, unknown, versioned, last = responses
    assert numbers(first.infer_response)["y"] == 10
    assert numbers(last.infer_response)["y"] == 40
    assert "the model failed on this input" in failed.error_message
    assert "Gather" not in failed.error_message, "internals stay in the log"
    assert unknown.error_message == "Request for unknown model: 'nobody' is not found"
    assert versioned.error_message == "failed to get model version from specified version string 'x'"
    assert [response.infer_response.id for response in responses] == ["1", "99", "2", "3", "4"]
    lines = [record.getMessage() for record in caplog.records if "ModelStreamInfer" in record.getMessage()]
    assert len(lines) == 3
    assert sum("MODEL_NOT_FOUND" in line or "INVALID_VERSION" in line for line in lines) == 2
    (run,) = [line for line in lines if "INFERENCE_FAILED" in line]
    assert "model=lookup" in run


async def test_with_the_header_the_first_error_ends_the_stream_with_its_status(calls: Calls) -> None:
    rpc = calls.inference.ModelStreamInfer(
        iter([lookup(1), lookup(2, model_name="nobody")]), metadata=(("triton_grpc_error", "true"),)
    )
    responses = [await rpc.read()]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.read()
    got = read_failure(caught.value)
    assert (got.code, got.message) == (
        grpc.StatusCode.NOT_FOUND,
        "Request for unknown model: 'nobody' is not found",
    )
    assert [response.infer_response.id for response in responses] == ["1"]


async def test_the_response_that_is_the_last_one_says_so_where_it_is_asked(calls: Calls) -> None:
    def marked(index: int) -> pb.ModelInferRequest:
        request = lookup(index)
        request.parameters["triton_enable_empty_final_response"].bool_param = True
        return request

    good, bad, plain = await exchange(calls, [marked(1), marked(99), lookup(1)])
    for response in (good, bad):
        assert response.infer_response.parameters["triton_final_response"].bool_param
    assert "triton_final_response" not in plain.infer_response.parameters


async def test_each_request_has_its_own_timeout(calls: Calls) -> None:
    late = busy(200_000_000)
    late.parameters["timeout"].int64_param = 50_000
    start = time.monotonic()
    expired, good = await exchange(calls, [late, lookup(1)])
    assert "the deadline passed" in expired.error_message
    assert not good.error_message
    assert time.monotonic() - start < 5


async def test_a_client_that_leaves_takes_its_requests_along(calls: Calls) -> None:
    rpc = calls.inference.ModelStreamInfer(iter([busy(20_000_000)] + [busy(1)] * 5))
    await asyncio.sleep(0.2)
    rpc.cancel()
    await calls.server.readiness.wait_idle(5)
    assert await calls.metric("menagerie_dropped_requests_total", model="busy", reason="cancelled") == 5


@pytest.mark.parametrize("transport", ["core", "aio"])
async def test_a_client_that_leaves_while_it_is_sent_an_answer_is_counted(
    serve: Serve, tmp_path: Path, transport: str
) -> None:
    width = 100_000  # so that answers do not fit into what gRPC sends to a client that reads nothing
    add_plain(tmp_path, "affine", plain_graphs.affine(("batch", width)))
    calls = await serve(tmp_path, transport=transport)
    request = infer_request("affine", {"x": np.ones((1, width), np.float32)})
    rpc = calls.inference.ModelStreamInfer(iter([request] * 60))
    await rpc.read()
    await asyncio.sleep(0.3)
    rpc.cancel()
    async with asyncio.timeout(5):
        while not await calls.metric("menagerie_requests_total", method=STREAM, code="CANCELLED"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await calls.metric("menagerie_requests_in_flight") == 0


async def test_a_stopping_server_answers_what_it_read_and_ends_the_stream(serve: Serve) -> None:
    calls = await serve()
    rpc = calls.inference.ModelStreamInfer()
    await rpc.write(busy(500_000))
    await asyncio.sleep(0.1)
    stopping = asyncio.create_task(calls.server.stop())
    response = await rpc.read()
    assert numbers(response.infer_response)["y"] == 500_000
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.read()
    assert read_failure(caught.value).info.reason == "DRAINING"
    await stopping


async def test_no_more_is_read_than_can_be_answered() -> None:
    read, most, running = 0, 0, 0

    async def requests() -> AsyncIterator[int]:
        nonlocal read
        for number in range(100):
            read += 1
            yield number

    async def answer(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (number % 3))
        running -= 1
        return number

    answers = []
    async for number in in_order(requests(), answer, asyncio.Event(), window=4):
        answers.append(number)
        assert read <= len(answers) + 4
    assert answers == list(range(100))
    assert 2 <= most <= 4


async def test_what_breaks_the_reading_ends_the_stream_after_the_answers() -> None:
    async def requests() -> AsyncIterator[int]:
        yield 1
        raise ValueError("not a message")

    async def answer(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    answers = in_order(requests(), answer, asyncio.Event())
    assert await anext(answers) == 1
    with pytest.raises(ValueError, match="not a message"):
        await anext(answers)
