"""What one caller may ask for: rates, sizes, streams; and names that try to get out of the repository."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import process_time

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from menagerie.v1 import model_pb2, model_service_pb2
from service.errors import RateLimitedError, TooManyBytesError, TooManyStreamsError
from service.security.quota import MAX_CLIENTS, Quota, RateLimit
from tests.service.calls import Calls, failure, infer_request
from tests.service.conftest import Serve
from tests.service.test_access import TOKENS, Role, bearer, tokens

__all__ = ["tokens"]

ROW = np.ones((1, 3), np.float32)


async def test_a_client_above_its_rate_is_told_when_to_come_back(serve: Serve) -> None:
    calls = await serve(requests_per_second=2)
    request = model_service_pb2.ListModelsRequest()
    for _ in range(2):
        await calls.models.ListModels(request)
    got = await failure(calls.models.ListModels(request))
    assert (got.code, got.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert got.retry_seconds is not None
    assert 0 < got.retry_seconds <= 0.5
    for _ in range(5):  # probes are not counted
        assert await calls.status() == "SERVING"
    await asyncio.sleep(got.retry_seconds + 0.05)
    await calls.models.ListModels(request)


@pytest.fixture
def more_tokens(tokens: Path) -> Path:
    """Two that may predict."""
    with tokens.open("a") as file:
        file.write("\nother predict another-token-of-some-length")
    return tokens


async def test_rates_are_those_of_each_token(serve: Serve, more_tokens: Path) -> None:
    calls = await serve(requests_per_second=1, tokens=more_tokens)
    request = infer_request("affine", {"x": ROW})
    await calls.inference.ModelInfer(request, metadata=bearer(TOKENS[Role.PREDICT]))
    got = await failure(calls.inference.ModelInfer(request, metadata=bearer(TOKENS[Role.PREDICT])))
    assert got.info.reason == "RATE_LIMITED"
    await calls.inference.ModelInfer(request, metadata=bearer("another-token-of-some-length"))


async def test_a_stream_is_slowed_down(serve: Serve) -> None:
    calls = await serve(requests_per_second=20)
    count, loop = 26, asyncio.get_running_loop()
    start = loop.time()
    stream = calls.inference.ModelStreamInfer(iter([infer_request("affine", {"x": ROW})] * count))
    answers = [response async for response in stream]
    assert len(answers) == count
    assert not any(answer.error_message for answer in answers)
    assert loop.time() - start >= (count - 20) / 20 - 0.05


def test_a_rate_fills_up_again() -> None:
    now = 0.0
    rate = RateLimit(10, clock=lambda: now)
    for _ in range(10):
        rate.take("a")
    with pytest.raises(RateLimitedError) as caught:
        rate.take("a")
    assert caught.value.retry_seconds == pytest.approx(0.1)
    rate.take("b")
    now = 0.1
    rate.take("a")
    assert rate.reserve("a") == pytest.approx(0.1)
    assert rate.reserve("a") == pytest.approx(0.2)  # those who wait stand in line
    now = 10.0
    for _ in range(10):
        rate.take("a")
    with pytest.raises(RateLimitedError):
        rate.take("a")


def test_clients_that_are_quiet_are_forgotten() -> None:
    rate = RateLimit(1, clock=lambda: 0.0)
    for number in range(MAX_CLIENTS + 1):
        rate.take(f"{number}")
    rate.take("0")
    with pytest.raises(RateLimitedError):
        rate.take(f"{MAX_CLIENTS}")


def test_what_is_open_is_bounded_and_given_back() -> None:
    quota = Quota(max_streams=1, max_bytes=100)
    with quota.stream(), pytest.raises(TooManyStreamsError), quota.stream():
        pass
    with quota.request(60), pytest.raises(TooManyBytesError), quota.request(41):
        pass
    with pytest.raises(ZeroDivisionError), quota.stream(), quota.request(100):
        raise ZeroDivisionError
    assert (quota.streams, quota.bytes) == (0, 0)


async def test_one_stream_too_many(serve: Serve) -> None:
    calls = await serve(max_streams=1)
    request = infer_request("affine", {"x": ROW})
    first = calls.inference.ModelStreamInfer()
    await first.write(request)
    await first.read()
    second = calls.inference.ModelStreamInfer()
    assert await second.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "--max-streams" in (await second.details() or "")
    assert await calls.status() == "SERVING"
    await first.done_writing()
    await first.read()
    assert await first.code() is grpc.StatusCode.OK
    third = calls.inference.ModelStreamInfer()
    await third.write(request)
    assert not (await third.read()).error_message
    third.cancel()


async def test_requests_in_flight_are_bounded_in_bytes(serve: Serve) -> None:
    calls = await serve(max_inflight_mib=1, max_message_mib=1)
    large = pb.ModelInferRequest(model_name="busy", id="x" * 600_000)
    large.inputs.add(name="rounds", datatype="INT64", shape=[1, 1])
    large.raw_input_contents.append(np.array([[2_000_000]], np.int64).tobytes())
    first = asyncio.ensure_future(calls.inference.ModelInfer(large))
    await asyncio.sleep(0.1)
    got = await failure(calls.inference.ModelInfer(large))
    assert (got.code, got.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_BYTES")
    assert got.retry_seconds
    await calls.infer("affine", {"x": ROW})
    await first


@pytest.mark.parametrize(
    ("settings", "model", "shape", "reason"),
    [
        ({"max_tensor_elements": 5}, "affine", (2, 3), "TENSOR_TOO_LARGE"),
        ({"max_tensor_rank": 3}, "affine", (1, 1, 1, 3), "RANK_TOO_LARGE"),
        ({}, "affine", (1,) * 2000, "RANK_TOO_LARGE"),
        ({}, "affine", (2**62,) * 1_000_000, "RANK_TOO_LARGE"),  # whose product would take minutes
    ],
)
async def test_tensors_that_are_too_large(
    serve: Serve, settings: dict[str, int], model: str, shape: tuple[int, ...], reason: str
) -> None:
    calls = await serve(**settings)
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=shape)
    request.raw_input_contents.append(b"")
    got = await failure(calls.inference.ModelInfer(request))
    assert (got.code, got.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert got.violations.keys() == {"inputs[0].shape"}


async def test_a_string_that_is_too_long(serve: Serve) -> None:
    calls = await serve(max_string_bytes=10)
    request = pb.ModelInferRequest(model_name="words")
    request.inputs.add(name="x", datatype="BYTES", shape=[1, 2]).contents.bytes_contents.extend([b"short", b"x" * 11])
    got = await failure(calls.inference.ModelInfer(request))
    assert (got.code, got.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "STRING_TOO_LONG")


NAMES = [
    "../moods",
    "../../etc/passwd",
    "/etc/passwd",
    "moods/1",
    "moods/../moods",
    "moods\x00",
    "a" * 100_000,
    ".",
    "~",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
async def test_names_are_looked_up_and_never_joined_to_paths(serve: Serve, name: str) -> None:
    calls = await serve(admin=True, control_mode="explicit", load_model=["*"])
    got = await failure(calls.models.GetModel(model_service_pb2.GetModelRequest(model=model_pb2.ModelRef(name=name))))
    assert got.code is grpc.StatusCode.NOT_FOUND
    got = await failure(calls.inference.ModelInfer(pb.ModelInferRequest(model_name=name)))
    assert got.code is grpc.StatusCode.NOT_FOUND
    for change in (
        calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name)),
        calls.inference.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name)),
    ):
        got = await failure(change)
        assert "etc/passwd" not in got.message.replace(name, "")


async def test_a_name_of_megabytes_keeps_nobody_waiting(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    """Making the text of the error fit took a second of the event loop for each megabyte of the name."""
    start = process_time()
    got = await failure(calls.inference.ModelInfer(pb.ModelInferRequest(model_name="\u00e9" * 4_000_000)))
    assert process_time() - start < 2
    assert (got.code, got.message[-3:]) == (grpc.StatusCode.NOT_FOUND, "...")
    request = infer_request("affine", {"x": ROW})
    request.parameters["triton_" + "x" * 4_000_000].bool_param = True
    got = await failure(calls.inference.ModelInfer(request))
    assert got.info.reason == "INVALID_TENSOR"
    assert max(map(len, caplog.messages)) < 1000


async def test_a_stream_that_is_cancelled_gives_its_place_back(serve: Serve) -> None:
    calls = await serve(max_streams=1, max_inflight_mib=1, max_message_mib=1)
    large = infer_request("affine", {"x": np.ones((1, 3), np.float32)})
    large.id = "x" * 600_000
    for _ in range(3):
        stream = calls.inference.ModelStreamInfer()
        await stream.write(large)
        await stream.read()
        stream.cancel()
        for _ in range(100):  # the server hears of it a moment later
            if not await calls.metric("menagerie_requests_in_flight"):
                break
            await asyncio.sleep(0.01)
    await calls.inference.ModelInfer(large)
