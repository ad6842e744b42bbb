"""Log lines, trace context, spans, and the metrics that dashboards of Triton know."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import queue
import signal
import sys
from collections.abc import AsyncIterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import numpy as np
import pytest

from menagerie.v1 import model_pb2
from menagerie.v1.prediction_service_pb2 import ForecastStreamRequest, Reading
from service.client import Client
from service.errors import StartError
from service.telemetry.families import CUTS
from service.telemetry.logs import JsonFormatter
from service.telemetry.tracing import choose_tracing, trace_id_of
from tests.service.calls import Calls, failure, infer_request
from tests.service.conftest import Serve
from tests.service.fakes import Bench
from tests.service.processes import running

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
ROW = np.ones((1, 3), np.float32)


@contextmanager
def json_lines() -> Iterator[io.StringIO]:
    """What the server logs as JSON meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("service")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


async def test_one_json_line_for_a_failed_request_without_what_was_in_it(calls: Calls) -> None:
    with json_lines() as stream:
        request = infer_request("affine", {"secret-name": ROW})
        metadata = [("traceparent", TRACEPARENT), ("x-request-id", "request-7")]
        await failure(calls.inference.ModelInfer(request, metadata=metadata))
        await calls.infer("affine", {"x": ROW})
        await failure(calls.classify_texts("my secret diary", "\x00" * 200_000))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["request_id"] == "request-7"
    assert first["trace_id"] == TRACE
    assert first["method"] == "/inference.GRPCInferenceService/ModelInfer"
    assert (first["model"], first["version"]) == ("affine", "1")
    assert (first["level"], first["code"], first["reason"]) == ("WARNING", "INVALID_ARGUMENT", "INVALID_TENSOR")
    assert first["fields"] == "inputs[0].name"
    assert first["milliseconds"] >= 0
    assert first["time"].endswith("+00:00")
    assert second["fields"] == "texts[1]"
    assert "secret" not in stream.getvalue()


def test_a_traceback_is_one_line_too() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("test-of-tracebacks")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        logger.exception("it %s", "failed")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "it failed"
    assert "RuntimeError: two\nlines" in json.loads(line)["exception"]


@pytest.mark.parametrize(
    ("value", "trace_id"),
    [
        (TRACEPARENT, TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", TRACE),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (TRACEPARENT.upper(), ""),
        ("00-abc-01", ""),
        ("x" * 10_000, ""),
        (b"\xff\x00", ""),
    ],
)
def test_trace_context(value: object, trace_id: str) -> None:
    assert trace_id_of({"traceparent": value}) == trace_id


def test_spans_that_nobody_can_send_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("opentelemetry", "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"):
        monkeypatch.setitem(sys.modules, module, None)  # as where the extra is not installed
    with pytest.raises(StartError, match=r"pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-grpc"):
        choose_tracing("http://localhost:4317", name="menagerie")


async def test_spans(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="the extra `tracing` is not installed")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from service import server
    from service.telemetry.tracing import OpenTelemetry

    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(server, "choose_tracing", lambda endpoint, name: OpenTelemetry(provider))
    calls = await serve()
    metadata = [("traceparent", TRACEPARENT), ("x-request-id", "request-8")]
    await calls.infer("affine", {"x": ROW}, metadata=metadata)
    await failure(calls.inference.ModelInfer(infer_request("nothing", {"x": ROW})))
    *phases, answered, failed = exporter.get_finished_spans()
    assert f"{answered.context.trace_id:032x}" == TRACE
    assert f"{answered.parent.span_id:016x}" == PARENT
    assert answered.name == "inference.GRPCInferenceService/ModelInfer"
    assert answered.attributes["menagerie.model"] == "affine"
    assert answered.attributes["menagerie.request_id"] == "request-8"
    assert [span.name for span in phases] == ["decode", "queue", "compute", "encode"]
    for span in phases:
        assert span.parent.span_id == answered.context.span_id
        assert span.start_time <= span.end_time <= answered.end_time + 1_000_000
    assert failed.parent is None
    assert failed.attributes["rpc.response.status_code"] == "NOT_FOUND"


async def test_metrics_by_the_names_of_triton(serve: Serve) -> None:
    calls = await serve()
    for _ in range(3):
        await calls.infer("affine", {"x": np.ones((2, 3), np.float32)})
    await failure(calls.infer("affine", {"x": np.ones((2, 4), np.float32)}))
    labels = {"model": "affine", "version": "1"}
    assert await calls.metric("nv_inference_request_success", **labels) == 3
    assert await calls.metric("nv_inference_request_failure", **labels) == 1
    assert await calls.metric("nv_inference_count", **labels) == 6
    assert await calls.metric("nv_inference_exec_count", **labels) == 3
    parts = [f"compute_{part}" for part in ("input", "infer", "output")]
    spent = [await calls.metric(f"nv_inference_{part}_duration_us", **labels) for part in ("queue", *parts)]
    assert all(value > 0 for value in spent)
    assert sum(spent) <= await calls.metric("nv_inference_request_duration_us", **labels)
    assert await calls.metric("nv_inference_pending_request_count", **labels) == 0
    assert await calls.metric("nv_model_load_duration_secs", **labels) > 0


async def test_the_parts_of_a_run_are_told_apart() -> None:
    bench = Bench(max_batch_rows=4)
    bench.compute.stack_seconds = 0.015
    busy = await bench.occupy()
    others = [bench.ask(1.0), bench.ask(2.0, 3.0)]
    await asyncio.sleep(0.03)
    bench.compute.release()
    await asyncio.gather(busy, *others)
    statistics = bench.statistics
    held = statistics.runs_by_rows[1]
    assert (held.stack.count, held.stack.nanoseconds) == (1, 15_000_000)
    assert held.compute.nanoseconds > 10_000_000, "the run without the time to stack"
    assert held.split.nanoseconds > 0
    pair = statistics.runs_by_rows[3]
    of_requests = statistics.runs_of_requests
    assert of_requests.stack.count == 3
    assert of_requests.stack.nanoseconds == 45_000_000, "both requests of the second run took part in all of it"
    assert of_requests.split.nanoseconds == held.split.nanoseconds + 2 * pair.split.nanoseconds
    await bench.batcher.close()


async def test_waiting_for_a_thread_is_not_computing() -> None:
    bench = Bench()
    bench.compute.wait_seconds = 0.02
    begin = perf_counter()
    busy = await bench.occupy()
    await asyncio.sleep(0.03)
    bench.compute.release()
    await busy
    took = perf_counter() - begin
    assert bench.statistics.queue.nanoseconds >= 20_000_000
    assert 0 < bench.count("phase_seconds_sum", phase="compute") <= took - 0.02
    assert 0 < bench.statistics.runs_by_rows[1].compute.nanoseconds <= 1e9 * (took - 0.02)
    await bench.batcher.close()


async def test_failed_requests_of_a_stream_are_counted_and_logged(calls: Calls) -> None:
    bad = infer_request("affine", {"wrong": ROW})
    with json_lines() as stream:
        requests = iter([infer_request("affine", {"x": ROW}), bad, bad])
        answers = [response async for response in calls.inference.ModelStreamInfer(requests)]
    assert len(answers) == 3
    labels = {"method": "/inference.GRPCInferenceService/ModelStreamInfer", "model": "affine"}
    assert await calls.metric("menagerie_errors_total", **labels, reason="INVALID_TENSOR") == 2
    assert await calls.metric("menagerie_requests_total", method=labels["method"], code="OK") == 1
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["reason"] for line in lines] == ["INVALID_TENSOR"] * 2


async def test_a_request_that_ends_its_stream_is_counted_once(calls: Calls) -> None:
    requests = iter([infer_request("affine", {"x": ROW}), infer_request("affine", {"wrong": ROW})])
    call = calls.inference.ModelStreamInfer(requests, metadata=[("triton_grpc_error", "true")])
    await failure(_read_all(call))
    labels = {"method": "/inference.GRPCInferenceService/ModelStreamInfer", "reason": "INVALID_TENSOR"}
    assert await calls.metric("menagerie_errors_total", **labels) == 1
    assert await calls.metric("menagerie_errors_total", **labels, model="affine", version="1") == 1


async def test_failures_of_a_forecast_stream_are_counted_by_their_reason(calls: Calls) -> None:
    method = "/menagerie.v1.PredictionService/ForecastStream"
    first = ForecastStreamRequest(model=model_pb2.ModelRef(name="load"))
    bad = ForecastStreamRequest(reading=Reading(values={"load": math.nan, "temperature": 20.0}))
    with json_lines() as stream:
        await failure(_read_all(calls.predictions.ForecastStream(iter([first, bad]))))
        await failure(_read_all(calls.predictions.ForecastStream(iter([bad]))))
    for model, reason in (("load", "SERIES_NOT_FINITE"), ("", "MODEL_NAME_MISSING")):
        assert await calls.metric("menagerie_errors_total", method=method, model=model, reason=reason) == 1
    assert await calls.metric("menagerie_errors_total", method=method) == 2
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["reason"] for line in lines] == ["SERIES_NOT_FINITE", "MODEL_NAME_MISSING"]


async def _read_all(call: AsyncIterable[Any]) -> list[Any]:
    return [response async for response in call]


async def test_build_info(calls: Calls) -> None:
    assert await calls.metric("menagerie_build_info") == 1


async def test_why_batches_are_cut() -> None:
    def cuts(bench: Bench) -> dict[str, float]:
        return {reason: n for reason in CUTS if (n := bench.count("batches_total", reason=reason))}

    bench = Bench(max_batch_rows=2)
    busy = await bench.occupy()
    others = [bench.ask(1.0), bench.ask(2.0), bench.ask(3.0), bench.ask(4.0, width=2), bench.ask(5.0, width=3)]
    bench.compute.release()
    for task in (busy, *others):
        await task
    assert cuts(bench) == {"idle": 2, "full": 1, "shape": 2}
    assert bench.count("batch_wait_seconds_count") == 5
    await bench.batcher.close()

    slow = Bench(max_batch_rows=2, max_delay_seconds=0.02)
    await slow.ask(1.0)
    assert cuts(slow) == {"delay": 1}
    await slow.ask(1.0, within=0.03)
    assert cuts(slow) == {"delay": 1, "deadline": 1}
    await slow.batcher.close()


def test_spans_reach_a_collector(repository: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="the extra `tracing` is not installed")
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    received = queue.Queue[Any]()

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            received.put(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    collector = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), collector)
    port = collector.add_insecure_port("127.0.0.1:0")
    collector.start()
    with running("--repository", str(repository), "--otlp-endpoint", f"http://127.0.0.1:{port}") as server:
        server.wait_for("models ready")
        with Client(server.address) as client:
            client.classify_texts("moods", ["good"])
        assert server.end(signal.SIGTERM) == 0, "what is left is sent at the end"
    (resource,) = received.get(timeout=5).resource_spans
    names = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert {"menagerie.v1.PredictionService/ClassifyTexts", "decode", "queue", "compute", "encode"} <= names
    collector.stop(None)
