"""A repository made for Triton serves unchanged: its configurations are honoured."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from tests import graphs
from tests.service import plain_graphs
from tests.service.calls import Calls, failure, infer_request, numbers
from tests.service.conftest import Serve
from tests.service.steps import run, step
from tests.service.triton_layout import add_model


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several models, each with a configuration."""
    folder = tmp_path_factory.mktemp("triton")
    classes = add_model(
        folder,
        "classes",
        """
        backend: "onnxruntime"
        max_batch_size: 4
        default_model_filename: "net.onnx"
        input { name: "x" data_type: TYPE_FP32 dims: [ 3 ] }
        output { name: "y" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" }
        version_policy { specific { versions: [ 1, 3 ] } }
        instance_group [ { count: 2 kind: KIND_CPU } ]
        dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 100 }
        parameters { key: "intra_op_thread_count" value { string_value: "1" } }
        """,
        *[plain_graphs.affine()] * 3,
        file="net.onnx",
    )
    (classes / "labels.txt").write_text("red\r\ngreen\u2028ish\nblue\n")
    add_model(folder, "newest", "", plain_graphs.affine(), plain_graphs.affine(("batch", 2)))
    return folder


@pytest.fixture
async def calls(serve: Serve, repository: Path) -> Calls:
    """A server on the repository."""
    return await serve(repository)


async def test_every_model_is_ready(calls: Calls) -> None:
    states = {(entry.name, entry.version): entry.reason for entry in calls.server.table.entries()}
    assert states == {("classes", 1): "", ("classes", 3): "", ("newest", 2): ""}


async def test_labels_and_a_file_of_another_name(calls: Calls) -> None:
    request = infer_request("classes", {"x": np.array([[1, 3, 2]], np.float32)})
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    (raw,) = (await calls.inference.ModelInfer(request)).raw_output_contents
    assert "7.000000:1:green\u2028ish".encode() in raw
    assert b"5.000000:2:blue" in raw


async def test_the_batch_limit_is_that_of_the_model(calls: Calls) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal((await calls.infer("classes", {"x": x}))["y"], 2 * x + 1)
    got = await failure(calls.infer("classes", {"x": np.ones((5, 3), np.float32)}))
    assert got.message == "inference request batch-size must be <= 4 for 'classes'"


async def test_parameters_of_sequences_mean_nothing_to_other_models(calls: Calls) -> None:
    x = np.ones((1, 3), np.float32)
    assert (await run(calls, step("classes", {"x": x}, 5)))["y"] == [3, 3, 3]


async def test_the_configuration_is_what_clients_are_shown(calls: Calls) -> None:
    config = (await calls.inference.ModelConfig(pb.ModelConfigRequest(name="classes"))).config
    assert (config.name, config.max_batch_size, config.default_model_filename) == ("classes", 4, "net.onnx")
    assert config.output[0].label_filename == "labels.txt"
    assert config.instance_group[0].count == 2


async def test_what_is_passed_over_is_said_in_the_log(
    serve: Serve, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service.loader")
    await serve(repository)
    assert "model classes 1: config.pbtxt: dynamic_batching.preferred_batch_size is passed over" in caplog.text


async def test_no_batch_axis_and_other_shapes(serve: Serve, tmp_path: Path) -> None:
    add_model(
        tmp_path,
        "whole",
        'max_batch_size: 0 input { name: "x" data_type: TYPE_FP32 dims: [ 2, 3 ] }',
        plain_graphs.affine(),
    )
    add_model(
        tmp_path,
        "words",
        """
        max_batch_size: 8
        input { name: "text" data_type: TYPE_STRING dims: [ 1 ] reshape { shape: [ ] } }
        output { name: "logits" data_type: TYPE_FP32 dims: [ 1, 2 ] reshape { shape: [ 2 ] } }
        """,
        graphs.text_graph(),
    )
    calls = await serve(tmp_path)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal((await calls.infer("whole", {"x": x}))["y"], 2 * x + 1)
    got = await failure(calls.infer("whole", {"x": x[:1]}))
    assert "Expected [2,3], got [1,3]" in got.message
    request = pb.ModelInferRequest(model_name="words")
    request.inputs.add(name="text", datatype="BYTES", shape=[2, 1]).contents.bytes_contents.extend([b"good", b"bad"])
    logits = numbers(await calls.inference.ModelInfer(request))
    assert list(logits) == ["logits"]
    assert logits["logits"].tolist() == [[[-4, 4]], [[4, -4]]]


async def test_outputs_that_a_configuration_leaves_out_are_not_there(serve: Serve, tmp_path: Path) -> None:
    add_model(tmp_path, "some", 'max_batch_size: 4 output { name: "y" dims: [ 3 ] }', plain_graphs.affine_and_count())
    calls = await serve(tmp_path)
    x = np.ones((2, 3), np.float32)
    assert list(await calls.infer("some", {"x": x})) == ["y"]
    got = await failure(calls.inference.ModelInfer(infer_request("some", {"x": x}, outputs=["count"])))
    assert "unexpected inference output 'count'" in got.message
    assert (await calls.inference.ModelReady(pb.ModelReadyRequest(name="some"))).ready


async def test_a_configuration_that_breaks_leaves_the_model_as_it_was(serve: Serve, tmp_path: Path) -> None:
    folder = add_model(tmp_path, "model", "max_batch_size: 4", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="poll", poll_seconds=0.05)
    x = np.ones((2, 3), np.float32)
    (folder / "config.pbtxt").write_text("max_batch_size: 4 runtime: 'mine'")
    (entry,) = calls.server.table.entries()
    for _ in range(200):
        await asyncio.sleep(0.02)
        if entry.reason:
            break
    assert entry.reason.endswith("config.pbtxt: the field 'runtime' is not supported by this server; remove it")
    assert (await calls.infer("model", {"x": x}))["y"].shape == (2, 3)
    (folder / "config.pbtxt").write_text("max_batch_size: 1")
    for _ in range(200):
        await asyncio.sleep(0.02)
        (entry,) = calls.server.table.entries()
        if not entry.reason and entry.model and entry.model.max_request_rows == 1:
            break
    got = await failure(calls.infer("model", {"x": x}))
    assert got.message == "inference request batch-size must be <= 1 for 'model'"


async def test_the_newest_version_takes_over_when_it_serves(serve: Serve, tmp_path: Path) -> None:
    folder = add_model(tmp_path, "model", "max_batch_size: 4", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="poll", poll_seconds=0.05)
    table = calls.server.table

    async def states() -> dict[int, str]:
        for _ in range(100):
            await asyncio.sleep(0.02)
            found = {entry.version: str(entry.state) for entry in table.entries()}
            if found != {1: "READY"} and "LOADING" not in found.values() and "UNLOADING" not in found.values():
                break
        return found

    (folder / "2").mkdir()
    (folder / "2" / "model.onnx").write_bytes(b"not a model")
    assert await states() == {1: "READY", 2: "FAILED"}
    assert (await calls.infer("model", {"x": np.ones((1, 3), np.float32)}))["y"].shape == (1, 3)
    (folder / "2" / "model.onnx").write_bytes(plain_graphs.affine())
    for _ in range(100):
        if await states() == {2: "READY"}:
            break
    assert await states() == {2: "READY"}


async def test_a_full_queue_of_a_model(serve: Serve, tmp_path: Path) -> None:
    add_model(
        tmp_path,
        "busy",
        """
        max_batch_size: 1
        dynamic_batching { default_queue_policy { max_queue_size: 2 default_timeout_microseconds: 60000000 } }
        """,
        plain_graphs.busy(),
    )
    calls = await serve(tmp_path)
    rounds = {"rounds": np.array([[100_000]], np.int64)}
    jobs = [asyncio.create_task(calls.infer("busy", rounds)) for _ in range(6)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert 1 <= len(refused) <= 4


async def test_a_timeout_of_the_model_is_kept(serve: Serve, tmp_path: Path) -> None:
    add_model(
        tmp_path,
        "busy",
        """
        max_batch_size: 1
        dynamic_batching {
          priority_levels: 2 default_priority_level: 2
          default_queue_policy { default_timeout_microseconds: 50000 }
          priority_queue_policy { key: 1 value { allow_timeout_override: true } }
        }
        """,
        plain_graphs.busy(),
    )
    calls = await serve(tmp_path)
    request = infer_request("busy", {"rounds": np.array([[200_000]], np.int64)})
    request.parameters["timeout"].int64_param = 60_000_000  # more than the model lets it ask for
    assert (await failure(calls.inference.ModelInfer(request))).code == grpc.StatusCode.DEADLINE_EXCEEDED
    request = infer_request("busy", {"rounds": np.array([[10]], np.int64)})
    request.parameters["priority"].uint64_param = 1
    assert (await calls.inference.ModelInfer(request)).outputs
