"""Every RPC of inference.GRPCInferenceService answers, and says only what is true."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from inference import grpc_service_pb2 as pb
from inference import model_config_pb2
from tests.service import plain_graphs
from tests.service.calls import Calls, Failure, failure, infer_request, read_failure
from tests.service.conftest import Serve, add_plain

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
OK = ""
X = np.ones((1, 3), np.float32)

REQUESTS: dict[str, tuple[Message, str]] = {
    "ServerLive": (pb.ServerLiveRequest(), OK),
    "ServerReady": (pb.ServerReadyRequest(), OK),
    "ModelReady": (pb.ModelReadyRequest(name="affine"), OK),
    "ServerMetadata": (pb.ServerMetadataRequest(), OK),
    "ModelMetadata": (pb.ModelMetadataRequest(name="affine"), OK),
    "ModelInfer": (infer_request("affine", {"x": X}), OK),
    "ModelStreamInfer": (infer_request("affine", {"x": X}), OK),
    "ModelConfig": (pb.ModelConfigRequest(name="affine"), OK),
    "ModelStatistics": (pb.ModelStatisticsRequest(), OK),
    "RepositoryIndex": (pb.RepositoryIndexRequest(), OK),
    "RepositoryModelLoad": (pb.RepositoryModelLoadRequest(model_name="affine"), OK),
    "RepositoryModelUnload": (pb.RepositoryModelUnloadRequest(model_name="affine"), OK),
    "SystemSharedMemoryStatus": (pb.SystemSharedMemoryStatusRequest(), OK),
    "SystemSharedMemoryRegister": (pb.SystemSharedMemoryRegisterRequest(name="r", key="/k"), "UNSUPPORTED"),
    "SystemSharedMemoryUnregister": (pb.SystemSharedMemoryUnregisterRequest(), OK),
    "CudaSharedMemoryStatus": (pb.CudaSharedMemoryStatusRequest(), OK),
    "CudaSharedMemoryRegister": (pb.CudaSharedMemoryRegisterRequest(name="r"), "UNSUPPORTED"),
    "CudaSharedMemoryUnregister": (pb.CudaSharedMemoryUnregisterRequest(), OK),
    "TraceSetting": (pb.TraceSettingRequest(), OK),
    "LogSettings": (pb.LogSettingsRequest(), OK),
}
"""A request for each RPC, and the reason of the error that it gets, if any."""


async def ask(calls: Calls, name: str, request: Message) -> Message | Failure:
    """What one request gets; on the wire a stream looks like any other RPC."""
    answer = message_factory.GetMessageClass(SERVICE.methods_by_name[name].output_type)
    rpc = calls.channel.unary_stream(f"/{SERVICE.full_name}/{name}", type(request).SerializeToString, answer.FromString)
    try:
        (response,) = [response async for response in rpc(request)]
    except grpc.aio.AioRpcError as exc:
        return read_failure(exc)
    return response


@pytest.mark.parametrize("name", [method.name for method in SERVICE.methods])
async def test_every_rpc_answers(serve: Serve, tmp_path: Path, name: str) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="explicit", load_model=("*",), admin=True)
    request, reason = REQUESTS[name]
    assert type(request).DESCRIPTOR is SERVICE.methods_by_name[name].input_type
    answer = await ask(calls, name, request)
    if reason:
        assert isinstance(answer, Failure)
        assert (answer.info.reason, answer.code) == (reason, grpc.StatusCode.FAILED_PRECONDITION)
    else:
        assert not isinstance(answer, Failure), answer


async def test_there_is_no_version_0(calls: Calls) -> None:
    """Whoever names it must not hear of another version."""
    assert not (await calls.inference.ModelReady(pb.ModelReadyRequest(name="affine", version="0"))).ready
    got = await failure(calls.inference.ModelStatistics(pb.ModelStatisticsRequest(name="affine", version="0")))
    assert got.message == "Request for unknown model: 'affine' version 0 is not found"


async def test_only_extensions_that_are_true_are_named(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    closed = (await (await serve(tmp_path)).inference.ServerMetadata(pb.ServerMetadataRequest())).extensions
    assert {"statistics", "model_configuration", "classification", "schedule_policy"} <= set(closed)
    untrue = {"model_repository", "system_shared_memory", "cuda_shared_memory", "trace", "logging"}
    assert not untrue & set(closed)
    opened = await serve(tmp_path, control_mode="explicit", admin=True)
    assert "model_repository" in (await opened.inference.ServerMetadata(pb.ServerMetadataRequest())).extensions
    sharing = await serve(tmp_path, system_shared_memory=True)
    named = (await sharing.inference.ServerMetadata(pb.ServerMetadataRequest())).extensions
    assert untrue & set(named) == {"system_shared_memory"}


async def config_of(calls: Calls, name: str) -> model_config_pb2.ModelConfig:
    return (await calls.inference.ModelConfig(pb.ModelConfigRequest(name=name))).config


async def test_a_configuration_is_what_is_in_effect(serve: Serve) -> None:
    calls = await serve(max_batch_size=16, max_delay_ms=2)
    image = await config_of(calls, "shades")
    assert (image.name, image.platform, image.backend) == ("shades", "onnxruntime_onnx", "onnxruntime")
    (pixels,) = image.input
    assert (pixels.name, list(pixels.dims), pixels.format) == (
        "image",
        [8, 8, 3],
        model_config_pb2.ModelInput.FORMAT_NHWC,
    )
    assert pixels.data_type == model_config_pb2.TYPE_UINT8
    assert [(output.name, list(output.dims)) for output in image.output] == [("probabilities", [2]), ("logits", [2])]
    assert image.max_batch_size == 16
    batching = image.dynamic_batching
    assert (batching.max_queue_delay_microseconds, batching.priority_levels, batching.default_priority_level) == (
        2000,
        3,
        2,
    )
    (instances,) = image.instance_group
    assert (instances.kind, instances.count) == (model_config_pb2.ModelInstanceGroup.KIND_CPU, 1)
    words = await config_of(calls, "words")
    assert (words.input[0].data_type, words.input[0].format) == (model_config_pb2.TYPE_STRING, 0)
    assert (await config_of(calls, "single-row")).max_batch_size == 1


async def test_labels_and_preprocessing_can_be_found_out(calls: Calls) -> None:
    image = (await config_of(calls, "shades")).parameters
    assert json.loads(image["labels"].string_value) == ["dark", "bright"]
    assert image["preprocessing"].string_value == "RGB, shorter side to 10 (bilinear), centre crop 8x8"
    assert "16" in (await config_of(calls, "moods")).parameters["preprocessing"].string_value
    series = (await config_of(calls, "load")).parameters
    assert series["preprocessing"].string_value == "columns in physical units, 3600 s apart: load [MW], temperature [C]"
    assert "labels" not in series
    assert not (await config_of(calls, "affine")).parameters


async def test_a_model_without_a_batch_axis_has_all_its_axes(calls: Calls) -> None:
    fixed = await config_of(calls, "four-rows")
    assert (fixed.max_batch_size, list(fixed.input[0].dims)) == (0, [4, 3])
    assert not fixed.HasField("dynamic_batching")


async def test_statistics_count_answers_failures_and_runs(calls: Calls) -> None:
    async def stats() -> pb.ModelStatistics:
        (model,) = (await calls.inference.ModelStatistics(pb.ModelStatisticsRequest(name="lookup"))).model_stats
        return model

    fresh = await stats()
    assert (fresh.inference_count, fresh.execution_count, fresh.last_inference) == (0, 0, 0)
    assert fresh.inference_stats.success.count == 0
    await calls.infer("lookup", {"index": np.array([[1], [2], [3]])})
    await calls.infer("lookup", {"index": np.array([[4]])})
    await failure(calls.infer("lookup", {"index": np.array([[99]])}))
    await failure(calls.infer("lookup", {"index": np.array([[1.5]])}))
    assert await calls.status() == "SERVING", "a probe, which is not counted"
    got = await stats()
    assert (got.name, got.version) == ("lookup", "1")
    assert (got.inference_count, got.execution_count) == (4, 2)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in got.batch_stats] == [(1, 1), (3, 1)]
    phases = got.inference_stats
    assert (phases.success.count, phases.fail.count) == (2, 2)
    assert phases.queue.count == phases.compute_infer.count == phases.compute_output.count == 2
    assert phases.success.ns > phases.compute_infer.ns > 0
    assert phases.compute_infer.ns == sum(batch.compute_infer.ns for batch in got.batch_stats)
    for part in ("compute_input", "compute_output"):
        runs = [getattr(batch, part) for batch in got.batch_stats]
        assert [duration.count for duration in runs] == [1, 1]
        assert all(duration.ns > 0 for duration in runs), "rows are stacked, and split"
        assert getattr(phases, part).ns > sum(duration.ns for duration in runs), "inputs are read too, answers written"


async def test_the_typed_api_counts_too(calls: Calls) -> None:
    await calls.classify_texts("good", "bad")
    (model,) = (await calls.inference.ModelStatistics(pb.ModelStatisticsRequest(name="moods"))).model_stats
    assert (model.inference_count, model.inference_stats.success.count) == (2, 1)


async def test_statistics_of_all_and_of_unknown_models(calls: Calls) -> None:
    everything = await calls.inference.ModelStatistics(pb.ModelStatisticsRequest())
    names = [model.name for model in everything.model_stats]
    assert names == sorted(names)
    assert len(names) == 11
    got = await failure(calls.inference.ModelStatistics(pb.ModelStatisticsRequest(name="nobody")))
    assert (got.code, got.message) == (
        grpc.StatusCode.NOT_FOUND,
        "Request for unknown model: 'nobody' is not found",
    )
    got = await failure(calls.inference.ModelStatistics(pb.ModelStatisticsRequest(name="moods", version="3")))
    assert got.message == "Request for unknown model: 'moods' version 3 is not found"


async def test_the_index_says_where_each_version_stands(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    add_plain(tmp_path, "affine", b"no model", version=2)
    add_plain(tmp_path, "waiting", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="explicit", load_model=("affine",))
    index = (await calls.inference.RepositoryIndex(pb.RepositoryIndexRequest())).models
    assert [(row.name, row.version, row.state) for row in index] == [
        ("affine", "1", "READY"),
        ("affine", "2", "UNAVAILABLE"),
        ("waiting", "", ""),
    ]
    assert index[1].reason
    assert str(tmp_path) not in index[1].reason
    ready = (await calls.inference.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))).models
    assert [(row.name, row.version) for row in ready] == [("affine", "1")]


LOADS = {
    "a file over the wire": (
        {"file:2/model.onnx": pb.ModelRepositoryParameter(bytes_param=b"x")},
        "over the wire are refused",
    ),
    "an unknown parameter": (
        {"wish": pb.ModelRepositoryParameter(bool_param=True)},
        "parameter 'wish' is not supported",
    ),
    "a wrong type": ({"config": pb.ModelRepositoryParameter(int64_param=1)}, "must be string_param, got int64_param"),
}


@pytest.mark.parametrize("case", LOADS)
async def test_loads_that_are_refused(serve: Serve, tmp_path: Path, case: str) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="explicit", admin=True)
    parameters, text = LOADS[case]
    request = pb.RepositoryModelLoadRequest(model_name="affine", parameters=parameters)
    got = await failure(calls.inference.RepositoryModelLoad(request))
    assert got.code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in got.message
    nameless = await failure(calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest()))
    assert "model_name" in nameless.violations
    nameless = await failure(calls.inference.RepositoryModelUnload(pb.RepositoryModelUnloadRequest()))
    assert "model_name" in nameless.violations


EVIL = ["../affine", "affine/1", "/etc/passwd", "affine/../affine", ".", "..", "*", "affine\0", "\N{BUG}", "x" * 5000]


@pytest.mark.parametrize("name", EVIL)
async def test_a_name_never_becomes_a_path(serve: Serve, tmp_path: Path, name: str) -> None:
    add_plain(tmp_path / "inside", "affine", plain_graphs.affine())
    add_plain(tmp_path, "affine", plain_graphs.affine())
    calls = await serve(tmp_path / "inside", control_mode="explicit", admin=True)
    got = await failure(calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name)))
    assert (got.code, got.info.reason) == (grpc.StatusCode.INTERNAL, "LOAD_FAILED")
    got = await failure(calls.inference.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name)))
    assert got.code is grpc.StatusCode.NOT_FOUND
    request = pb.ModelInferRequest(model_name=name)
    assert (await failure(calls.inference.ModelInfer(request))).code is grpc.StatusCode.NOT_FOUND
    index = await calls.inference.RepositoryIndex(pb.RepositoryIndexRequest())
    assert [row.name for row in index.models] == ["affine"]


async def test_models_that_do_not_answer_are_named_in_the_words_that_clients_know(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    add_plain(tmp_path, "affine", b"no model", version=2)
    add_plain(tmp_path, "broken", b"no model")
    calls = await serve(tmp_path)
    for name, version, text in (
        ("broken", "", "Request for unknown model: 'broken' has no available versions (FAILED: "),
        ("affine", "2", "Request for unknown model: 'affine' version 2 is not at ready state (FAILED: "),
    ):
        got = await failure(calls.inference.ModelInfer(pb.ModelInferRequest(model_name=name, model_version=version)))
        assert got.code is grpc.StatusCode.UNAVAILABLE
        assert got.message.startswith(text)
        assert not (await calls.inference.ModelReady(pb.ModelReadyRequest(name=name, version=version))).ready
    assert (await calls.infer("affine", {"x": X}))["y"].tolist() == [[3, 3, 3]], "a broken version hides no good one"


@pytest.mark.parametrize("mode", ["none", "poll"])
async def test_loading_needs_explicit_mode(serve: Serve, mode: str) -> None:
    calls = await serve(control_mode=mode, admin=True)
    got = await failure(calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="affine")))
    assert got.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "explicit model load / unload is not allowed" in got.message
    assert "--control-mode explicit" in got.message


async def test_a_region_that_nobody_registered(calls: Calls) -> None:
    got = await failure(calls.inference.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(name="mine")))
    assert (got.code, got.message) == (
        grpc.StatusCode.NOT_FOUND,
        "Unable to find system shared memory region: 'mine'",
    )


async def test_log_settings_are_those_of_the_server(serve: Serve) -> None:
    calls = await serve(log_level="warning", log_format="json")
    settings = (await calls.inference.LogSettings(pb.LogSettingsRequest())).settings
    shown = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in settings.items()}
    assert shown == {
        **{"log_file": "", "log_info": False, "log_warning": True, "log_error": True},
        **{"log_verbose_level": 0, "log_format": "json"},
    }
    change = pb.LogSettingsRequest(settings={"log_file": {"string_param": "/tmp/owned"}})
    assert "cannot be changed over the wire" in (await failure(calls.inference.LogSettings(change))).message
    change = pb.TraceSettingRequest(settings={"trace_file": {"value": ["/tmp/owned"]}})
    assert "cannot be changed over the wire" in (await failure(calls.inference.TraceSetting(change))).message
    got = await failure(calls.inference.TraceSetting(pb.TraceSettingRequest(model_name="nobody")))
    assert got.code is grpc.StatusCode.NOT_FOUND
