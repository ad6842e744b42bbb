"""The wall clock jumps by a day, forth or back, as when a machine's clock is set: nothing that waits may care.

In the process only Python's clock can be made to jump, so the deadline of the RPC itself, which gRPC counts, is not
among what is asked here; `test_a_clock_that_is_set_under_a_server` sets the clock of a whole process.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

import service
from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from menagerie.v1 import model_service_pb2
from service.models.polling import Retries
from service.security.quota import RateLimit
from service.security.tokens import LOOK_SECONDS, TokenFile
from tests.service import stateful_graphs
from tests.service.calls import Calls, failure, infer_request, until
from tests.service.conftest import Serve, add_plain
from tests.service.plain_graphs import affine
from tests.service.processes import running
from tests.service.steps import one, run, step
from tests.service.triton_layout import ACCUMULATOR, add_model

DAY = 86_400.0
SHOWS_MOMENTS = {"telemetry/statistics.py", "telemetry/tracing.py", "telemetry/logs.py"}
"""Files that read the wall clock, to tell people when something was; all else counts by clocks that never jump."""
TAKES_MOMENTS = {"transport/rpc.py"}
"""gRPC gives a call's deadline as a moment, which is turned into seconds from now as soon as it is here."""
WALL_CLOCK = re.compile(
    r"\btime\.time\b|\btime_ns\b|from time import .*\btime\b|datetime\.(now|utcnow|fromtimestamp)\b"
)
Jump = Callable[[], None]


@pytest.fixture(params=[-DAY, DAY], ids=["back", "forth"])
def jump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Sets the clock."""
    real, real_ns = time.time, time.time_ns

    def set_clock() -> None:
        monkeypatch.setattr(time, "time", lambda: real() + request.param)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(request.param * 1e9))

    return set_clock


async def test_a_timeout_passes_when_it_should(calls: Calls, jump: Jump) -> None:
    request = infer_request("busy", {"rounds": np.array([[200_000_000]], np.int64)})
    request.parameters["timeout"].int64_param = 200_000
    asked = asyncio.ensure_future(calls.inference.ModelInfer(request))
    await until(lambda: calls.server.table.get("busy")._batcher._door.seats)
    start = time.perf_counter()
    jump()
    got = await failure(asked)
    assert (got.code, got.info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXPIRED")
    assert 0.1 < time.perf_counter() - start < 2


async def test_a_timeout_passes_no_sooner(calls: Calls, jump: Jump) -> None:
    request = infer_request("busy", {"rounds": np.array([[500_000]], np.int64)})
    request.parameters["timeout"].int64_param = 60_000_000
    asked = asyncio.ensure_future(calls.inference.ModelInfer(request))
    await until(lambda: calls.server.table.get("busy")._batcher._door.seats)
    jump()
    assert (await asked).outputs
    assert await calls.status() == "SERVING"


async def test_sequences_are_idle_when_nothing_comes(serve: Serve, tmp_path: Path, jump: Jump) -> None:
    add_model(tmp_path, "accumulate", ACCUMULATOR.replace("5000000", "300000"), stateful_graphs.accumulator())
    calls = await serve(tmp_path)
    assert (await run(calls, step("accumulate", one(1), 7, start=True)))["OUTPUT"] == [1]
    jump()
    assert (await run(calls, step("accumulate", one(1), 7)))["OUTPUT"] == [2]
    alive = calls.server.table.get("accumulate").conversations
    await until(lambda: not alive, seconds=2)


async def test_rates_are_kept(serve: Serve, jump: Jump) -> None:
    calls = await serve(requests_per_second=2)
    request = model_service_pb2.ListModelsRequest()
    for _ in range(2):
        await calls.models.ListModels(request)
    jump()
    got = await failure(calls.models.ListModels(request))
    assert got.info.reason == "RATE_LIMITED"
    assert got.retry_seconds is not None
    assert 0 < got.retry_seconds <= 0.5
    await asyncio.sleep(got.retry_seconds + 0.05)
    await calls.models.ListModels(request)


def test_pauses_and_token_files_count_real_seconds(tmp_path: Path, jump: Jump) -> None:
    file = tmp_path / "tokens"
    file.write_text("desk read a-token-of-some-length")
    retries, rate, tokens = Retries(0.05), RateLimit(1), TokenFile(file)
    retries.failed("affine")
    rate.take("client")
    jump()
    assert retries.due() == []
    assert 0.5 < rate.reserve("client") <= 1
    file.write_text("desk read another-token-of-some-length")
    assert tokens.find("a-token-of-some-length"), "it is looked at once a second"
    time.sleep(max(LOOK_SECONDS, 0.05) + 0.05)
    assert retries.due() == ["affine"]
    assert tokens.find("another-token-of-some-length")


async def test_polling_goes_on(serve: Serve, tmp_path: Path, jump: Jump) -> None:
    add_plain(tmp_path, "affine", affine())
    calls = await serve(tmp_path, control_mode="poll", poll_seconds=0.05)
    jump()
    add_plain(tmp_path, "affine", affine(), version=2)
    await until(lambda: calls.server.table.get("affine").version == 2, seconds=5)


@pytest.mark.slow
@pytest.mark.parametrize("shift", ["-1d", "+1d"])
def test_a_clock_that_is_set_under_a_server(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: str
) -> None:
    """With libfaketime (Debian's package), which sets the clock of a process that runs: gRPC's deadlines hold too."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    for name, value in {"NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1", "TIMESTAMP_FILE": str(clock)}.items():
        monkeypatch.setenv(f"FAKETIME_{name}", value)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    with running("--repository", str(repository)) as server:
        server.wait_for("models ready")
        with grpc.insecure_channel(server.address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            asked = stub.ModelInfer.future(_rounds(2_000_000), timeout=60)
            time.sleep(0.1)
            clock.write_text(shift)
            assert asked.result().outputs, "its minute is not over"
            assert stub.ModelInfer(_rounds(1000), timeout=60).outputs
            start = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(_rounds(500_000_000), timeout=0.5)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert 0.4 < time.monotonic() - start < 5
            seen = stub.ModelStatistics(pb.ModelStatisticsRequest(name="busy")).model_stats[0]
            assert abs(seen.last_inference / 1e3 - time.time()) > DAY / 2, "the clock of the server was set"
        assert server.end(signal.SIGTERM) == 0


def _rounds(count: int) -> pb.ModelInferRequest:
    return infer_request("busy", {"rounds": np.array([[count]], np.int64)})


def test_only_those_who_show_moments_read_the_wall_clock() -> None:
    root = Path(service.__file__).parent
    readers = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if not path.is_relative_to(root / "client") and WALL_CLOCK.search(path.read_text())
    }
    assert readers == SHOWS_MOMENTS | TAKES_MOMENTS
