"""grpc.health.v1 and reflection over a real channel: the truth at the time of asking."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from inference import grpc_service_pb2 as pb
from menagerie.v1 import model_pb2, model_service_pb2
from service.models import pulse
from tests.service.calls import Calls, failure, picture, until
from tests.service.conftest import Serve, add_plain

SERVICES = ["", "menagerie.v1.PredictionService", "menagerie.v1.ModelService", "inference.GRPCInferenceService"]
STATUS = health_pb2.HealthCheckResponse.ServingStatus


@pytest.mark.parametrize("service", [*SERVICES, "liveness"])
async def test_a_working_server_is_serving(calls: Calls, service: str) -> None:
    assert await calls.status(service) == "SERVING"


async def test_an_unknown_service_is_not_found(calls: Calls) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.status("nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = calls.health.Watch(health_pb2.HealthCheckRequest(service="nobody"))
    assert (await watch.read()).status == STATUS.SERVICE_UNKNOWN
    watch.cancel()


async def test_a_server_without_a_model_that_works_is_alive_but_not_ready(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "broken", b"no model")
    calls = await serve(tmp_path)
    assert await calls.status() == "NOT_SERVING"
    assert await calls.status("inference.GRPCInferenceService") == "NOT_SERVING"
    assert await calls.status("liveness") == "SERVING"
    assert await calls.status("menagerie.v1.ModelService") == "SERVING"
    assert not (await calls.inference.ServerReady(pb.ServerReadyRequest())).ready
    assert (await calls.inference.ServerLive(pb.ServerLiveRequest())).live
    listed = await calls.models.ListModels(model_service_pb2.ListModelsRequest())
    assert listed.models[0].state == model_pb2.MODEL_STATE_FAILED


async def test_an_empty_repository_is_not_ready(serve: Serve, tmp_path: Path) -> None:
    calls = await serve(tmp_path)
    assert await calls.status() == "NOT_SERVING"


async def test_ready_is_proved_by_an_inference(calls: Calls) -> None:
    before = await calls.metric("menagerie_batch_rows_count", model="shades")
    assert await calls.status() == "SERVING"
    probed = await calls.metric("menagerie_batch_rows_count", model="shades")
    assert probed == before + 1
    assert await calls.status() == "SERVING"
    assert await calls.metric("menagerie_batch_rows_count", model="shades") == probed, "fresh enough"


async def test_a_device_that_dies_is_noticed(calls: Calls) -> None:
    entry = calls.server.table.find("moods")
    assert entry.model is not None
    assert (await calls.inference.ModelReady(pb.ModelReadyRequest(name="moods"))).ready
    entry.model._batched._runner._backend.close()  # from now on every run fails
    entry.model._batched._pulse._last_success = float("-inf")
    assert not (await calls.inference.ModelReady(pb.ModelReadyRequest(name="moods"))).ready
    assert (await calls.inference.ModelReady(pb.ModelReadyRequest(name="shades"))).ready
    assert await calls.status() == "SERVING", "one broken model does not take the others out of service"
    assert (await failure(calls.classify_texts("good"))).code is grpc.StatusCode.INTERNAL


async def test_a_model_that_is_busy_with_long_runs_is_ready(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = calls.inference.ModelReady
    model = calls.server.table.get("busy")
    assert (await ready(pb.ModelReadyRequest(name="busy"))).ready
    monkeypatch.setattr(pulse, "PROBE_SECONDS", 0.02)
    model._batched._pulse._fresh_seconds = 0.0
    running = asyncio.create_task(calls.infer("busy", {"rounds": np.array([[2_000_000]], np.int64)}))
    await until(lambda: model._batcher._door.seats)
    assert (await ready(pb.ModelReadyRequest(name="busy"))).ready, "it answered a moment ago"
    assert not running.done()
    model._batched._pulse._last_success = float("-inf")
    assert not (await ready(pb.ModelReadyRequest(name="busy"))).ready, "it has not answered for long"
    await running


async def test_watch_tells_the_end_and_then_ends(calls: Calls) -> None:
    watch = calls.health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == STATUS.SERVING
    calls.server.readiness.drain()
    assert (await asyncio.wait_for(watch.read(), 0.9)).status == STATUS.NOT_SERVING
    assert await asyncio.wait_for(watch.read(), 0.9) is grpc.aio.EOF


async def test_while_draining_new_requests_are_refused_and_health_still_answers(calls: Calls) -> None:
    calls.server.readiness.drain()
    got = await failure(calls.classify_images(picture(1)))
    assert (got.code, got.info.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert got.retry_seconds == 1
    assert await calls.status() == "NOT_SERVING"
    assert await calls.status("menagerie.v1.ModelService") == "NOT_SERVING"


async def test_reflection_lists_and_describes_the_services(calls: Calls) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(calls.channel)
    question = reflection_pb2.ServerReflectionRequest
    stream = stub.ServerReflectionInfo(
        iter([question(list_services=""), question(file_containing_symbol="menagerie.v1.PredictionService")])
    )
    listed, described = [response async for response in stream]
    names = {service.name for service in listed.list_services_response.service}
    assert set(SERVICES[1:]) | {"grpc.health.v1.Health"} <= names
    file = FileDescriptorProto.FromString(described.file_descriptor_response.file_descriptor_proto[0])
    assert [method.name for method in file.service[0].method] == [
        "ClassifyImages",
        "ClassifyTexts",
        "Forecast",
        "ForecastStream",
    ]
