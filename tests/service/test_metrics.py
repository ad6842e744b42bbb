"""What Prometheus scrapes over HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import urllib.request

import grpc
import numpy as np
import pytest
from prometheus_client import generate_latest

from service.telemetry.metrics import Metrics
from service.telemetry.statistics import RunSeconds
from tests.service.calls import Calls, failure, infer_request, picture, until
from tests.service.conftest import Serve

CLASSIFY = "/menagerie.v1.PredictionService/ClassifyImages"


async def test_requests_and_errors_are_counted(calls: Calls) -> None:
    await calls.classify_images(picture(1), picture(2))
    await failure(calls.classify_images(b"broken"))
    await failure(calls.classify_images(picture(1), model="made-up-by-a-caller"))
    ok = {"method": CLASSIFY, "model": "shades", "version": "1", "code": "OK"}
    assert await calls.metric("menagerie_requests_total", **ok) == 1
    assert await calls.metric("menagerie_requests_total", **ok | {"code": "INVALID_ARGUMENT"}) == 1
    assert await calls.metric("menagerie_errors_total", model="shades", reason="IMAGE_INVALID") == 1
    assert await calls.metric("menagerie_errors_total", model="", reason="MODEL_NOT_FOUND") == 1
    assert await calls.metric("menagerie_requests_total", model="made-up-by-a-caller") == 0, "labels stay bounded"


async def test_latency_has_a_histogram_for_each_phase(calls: Calls) -> None:
    await calls.classify_images(picture(1))
    for phase in ("decode", "queue", "compute", "encode", "total"):
        labels = {"model": "shades", "phase": phase}
        assert await calls.metric("menagerie_phase_seconds_count", **labels) == 1
        assert await calls.metric("menagerie_phase_seconds_bucket", le="0.0001", **labels) <= 1
        assert 0 < await calls.metric("menagerie_phase_seconds_sum", **labels) < 5


async def test_batches_and_queue(calls: Calls) -> None:
    await calls.classify_images(*[picture(1)] * 5)
    assert await calls.metric("menagerie_batch_rows_sum", model="shades") == 5
    assert await calls.metric("menagerie_queue_rows", model="shades") == 0
    assert await calls.metric("menagerie_requests_in_flight") == 0


async def test_models_and_devices(calls: Calls) -> None:
    assert await calls.metric("menagerie_models_ready") == 11
    assert await calls.metric("menagerie_device", device="cpu", provider="CPUExecutionProvider") == 1
    assert await calls.metric("menagerie_model_device", model="moods", version="1", device="cpu") == 1
    assert await calls.metric("menagerie_model_state", model="moods", state="READY") == 1
    assert await calls.metric("menagerie_model_state", model="moods", state="FAILED") == 0
    assert 0 < await calls.metric("menagerie_model_load_seconds", model="moods") < 30
    assert 0 < await calls.metric("menagerie_model_golden_error", model="moods") < 1


async def test_the_process_and_python_are_there_too(calls: Calls) -> None:
    assert await calls.metric("process_resident_memory_bytes") > 1e6
    assert await calls.metric("python_info") == 1


async def test_two_servers_in_one_process_share_nothing(serve: Serve) -> None:
    one, other = await serve(), await serve()
    await one.classify_images(picture(1))
    assert await one.metric("menagerie_requests_total", model="shades") == 1
    assert await other.metric("menagerie_requests_total", model="shades") == 0


async def test_the_port_is_free_after_the_server_stopped(serve: Serve) -> None:
    calls = await serve()
    url = calls.server.metrics_url
    await calls.server.stop()
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(urllib.request.urlopen, url, timeout=1)


async def test_the_gauges_of_a_closed_model_are_gone(calls: Calls) -> None:
    await calls.server.table.remove("moods")
    await until(lambda: not calls.server.table.versions("moods"))
    assert await calls.metric("menagerie_model_device", model="moods") == 0
    assert await calls.metric("menagerie_model_device", model="shades") == 1


async def test_the_request_id_of_the_caller_comes_back(calls: Calls) -> None:
    got = await failure(calls.infer("nobody", {}, metadata=(("x-request-id", "order-66"),)))
    assert got.request_id == "order-66"
    got = await failure(calls.infer("nobody", {}, metadata=(("x-request-id", "two words"),)))
    assert got.request_id != "two words", "it will stand in a log"
    assert len(got.request_id) == 32


async def test_a_good_answer_carries_the_request_id_too(calls: Calls) -> None:
    request = infer_request("affine", {"x": np.ones((1, 3), np.float32)})
    call = calls.inference.ModelInfer(request, metadata=(("x-request-id", "order-67"),))
    await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "order-67"


async def test_a_failed_request_is_one_line_in_the_log_without_what_was_sent(
    calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        got = await failure(calls.classify_images(b"my secret diary"))
        internal = await failure(calls.infer("lookup", {"index": np.array([[99]])}))
    first, second = [record.getMessage() for record in caplog.records if record.name == "service.telemetry.call"]
    assert got.request_id in first
    for word in (CLASSIFY, "model=shades", "INVALID_ARGUMENT", "IMAGE_INVALID", "images[0]"):
        assert word in first
    assert "secret" not in first
    assert internal.request_id in second
    assert "Gather" in second, "the detail that the caller does not see"
    assert internal.code is grpc.StatusCode.INTERNAL


def test_a_scrape_while_versions_and_batch_sizes_come() -> None:
    metrics, over = Metrics(), threading.Event()
    versions = [metrics.for_model("moods", number) for number in range(20)]
    versions[0].loaded(device="cpu", provider="CPUExecutionProvider", seconds=1.0, golden_error=0.0)

    def come() -> None:
        rows = 0
        while not over.wait(1e-6):
            metrics.for_model("moods", 0)
            versions[0].ran(rows := rows + 1, RunSeconds())

    thread = threading.Thread(target=come)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(8):
            assert b"nv_inference_exec_count" in generate_latest(metrics.registry)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
