"""A repository made for Triton serves unchanged: its configurations are honoured."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import pytest

from inference import grpc_service_pb2 as pb
from tests import graphs
from tests.service import plain_graphs, stateful_graphs
from tests.service.calls import Calls, failure, infer_request, numbers
from tests.service.conftest import Serve
from tests.service.triton_layout import ACCUMULATOR, add_model


def step(
    model: str, tensors: dict[str, np.ndarray], key: int | str, *, start: bool = False, end: bool = False
) -> pb.ModelInferRequest:
    """A step of a sequence."""
    request = infer_request(model, tensors)
    if isinstance(key, str):
        request.parameters["sequence_id"].string_param = key
    else:
        request.parameters["sequence_id"].int64_param = key
    request.parameters["sequence_start"].bool_param = start
    request.parameters["sequence_end"].bool_param = end
    return request


async def run(calls: Calls, request: pb.ModelInferRequest) -> dict[str, list[Any]]:
    """The first row of each numeric output."""
    return {name: value[0].tolist() for name, value in numbers(await calls.inference.ModelInfer(request)).items()}


def one(value: float) -> dict[str, np.ndarray]:
    """INPUT of the accumulator."""
    return {"INPUT": np.array([[value]], np.float32)}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several models, each with a configuration."""
    folder = tmp_path_factory.mktemp("triton")
    add_model(folder, "accumulate", ACCUMULATOR, stateful_graphs.accumulator())
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
    (classes / "labels.txt").write_text("red\ngreen\nblue\n")
    add_model(
        folder,
        "gru",
        """
        max_batch_size: 8
        sequence_batching {
          state { input_name: "h" output_name: "h_next" data_type: TYPE_FP32 dims: [ 4 ]
                  initial_state { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true name: "zeros" } }
        }
        """,
        stateful_graphs.gru_step(),
    )
    add_model(folder, "newest", "", plain_graphs.affine(), plain_graphs.affine(("batch", 2)))
    add_model(
        folder,
        "growing",
        """
        max_batch_size: 8
        sequence_batching { state { input_name: "seen" output_name: "more" data_type: TYPE_FP32 dims: [ -1 ] } }
        """,
        stateful_graphs.growing_memory(),
    )
    return folder


@pytest.fixture
async def calls(serve: Serve, repository: Path) -> Calls:
    """A server on the repository."""
    return await serve(repository)


async def test_every_model_is_ready(calls: Calls) -> None:
    states = {(entry.name, entry.version): entry.reason for entry in calls.server.table.entries()}
    assert states == {
        ("accumulate", 1): "",
        ("classes", 1): "",
        ("classes", 3): "",
        ("growing", 1): "",
        ("gru", 1): "",
        ("newest", 2): "",
    }


async def test_labels_and_a_file_of_another_name(calls: Calls) -> None:
    request = infer_request("classes", {"x": np.array([[1, 3, 2]], np.float32)})
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    (raw,) = (await calls.inference.ModelInfer(request)).raw_output_contents
    assert b"7.000000:1:green" in raw
    assert b"5.000000:2:blue" in raw


async def test_the_batch_limit_is_that_of_the_model(calls: Calls) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal((await calls.infer("classes", {"x": x}))["y"], 2 * x + 1)
    got = await failure(calls.infer("classes", {"x": np.ones((5, 3), np.float32)}))
    assert got.message == "inference request batch-size must be <= 4 for 'classes'"


async def test_state_and_facts_of_a_sequence(calls: Calls) -> None:
    answers = [
        await run(calls, step("accumulate", one(value), 7, start=value == 1, end=value == 4)) for value in (1, 2, 3, 4)
    ]
    assert [answer["OUTPUT"] for answer in answers] == [[1], [3], [6], [10]]
    assert [answer["FACTS"] for answer in answers] == [[7010], [7000], [7000], [7001]]
    got = await failure(calls.inference.ModelInfer(step("accumulate", one(1), 7)))
    assert got.code == grpc.StatusCode.INVALID_ARGUMENT
    assert got.message == (
        "inference request for sequence 7 to model 'accumulate' must specify the START flag on the first request of "
        "the sequence"
    )


async def test_callers_see_neither_state_nor_facts(calls: Calls) -> None:
    metadata = await calls.inference.ModelMetadata(pb.ModelMetadataRequest(name="accumulate"))
    assert [tensor.name for tensor in metadata.inputs] == ["INPUT"]
    assert [tensor.name for tensor in metadata.outputs] == ["OUTPUT", "FACTS"]
    got = await failure(calls.infer("accumulate", one(1) | {"STATE_IN": np.array([[1e9]], np.float32)}))
    assert "unexpected inference input 'STATE_IN'" in got.message


async def test_requests_that_say_no_sequence(calls: Calls) -> None:
    for key in (0, ""):
        got = await failure(calls.inference.ModelInfer(step("accumulate", one(1), key, start=True)))
        assert "must specify a non-zero or non-empty correlation ID" in got.message
    got = await failure(calls.inference.ModelInfer(step("accumulate", one(1), "text", start=True)))
    assert got.message == "sequence id 'text' is no integer, but the model takes it as INT64; send an integer"
    two = {"INPUT": np.ones((2, 1), np.float32)}
    got = await failure(calls.inference.ModelInfer(step("accumulate", two, 8, start=True)))
    assert "must specify batch-size 1 due to requirements of sequence batcher" in got.message


async def test_parameters_of_sequences_mean_nothing_to_other_models(calls: Calls) -> None:
    x = np.ones((1, 3), np.float32)
    assert (await run(calls, step("classes", {"x": x}, 5)))["y"] == [3, 3, 3]


async def test_interleaved_sequences_of_a_gru_are_what_whole_runs_give(calls: Calls) -> None:
    random = np.random.default_rng(1)
    sequences = random.standard_normal((6, 12, stateful_graphs.GRU_INPUT)).astype(np.float32)

    async def one_by_one(key: int) -> np.ndarray:
        rows = sequences[key]
        answers = [
            await run(calls, step("gru", {"x": row[None]}, f"s{key}", start=index == 0))
            for index, row in enumerate(rows)
        ]
        return np.array([answer["y"] for answer in answers])

    got = await asyncio.gather(*(one_by_one(key) for key in range(6)))
    session = onnxruntime.InferenceSession(stateful_graphs.gru_whole(), providers=["CPUExecutionProvider"])
    for key in range(6):
        (expected,) = session.run(None, {"x": sequences[key][:, None]})
        np.testing.assert_allclose(got[key], expected[:, 0, 0], atol=1e-5)


async def test_a_state_that_grows(calls: Calls) -> None:
    answers = [
        await run(calls, step("growing", {"x": np.array([[value]], np.float32)}, "g", start=value == 1))
        for value in (1, 2, 3)
    ]
    assert [answer["y"] for answer in answers] == [[1], [3], [6]]


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


async def test_state_without_a_batch_axis(serve: Serve, tmp_path: Path) -> None:
    add_model(
        tmp_path,
        "whole",
        """
        sequence_batching { state { input_name: "total" output_name: "next" data_type: TYPE_FP32 dims: [ 2 ] } }
        """,
        stateful_graphs.whole_accumulator(),
    )
    calls = await serve(tmp_path)
    x = {"x": np.array([1, 2], np.float32)}
    answers = [numbers(await calls.inference.ModelInfer(step("whole", x, 3, start=not index))) for index in range(3)]
    assert [answer["y"].tolist() for answer in answers] == [[1, 2], [2, 4], [3, 6]]
    assert answers[0]["size"] == 2


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


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("max_batch_size: -1", "config.pbtxt: max_batch_size is -1"),
        ("max_batchsize: 4", 'no field named "max_batchsize"'),
        ('backend: "python"', "config.pbtxt: backend 'python' is not supported; this server runs 'onnxruntime'"),
        ('name: "other"', "name is 'other', but the folder is 'model'; rename one of them"),
        ("response_cache { enable: true }", "the field 'response_cache' is not supported by this server; remove it"),
        ('input { name: "z" dims: [ 3 ] }', "input[0]: callers have no input 'z'; they have x"),
        ('max_batch_size: 4 input { name: "x" dims: [ 4 ] }', "input[0]: 'x' has shape [4], but the graph [3]"),
        (
            'max_batch_size: 4 input { name: "x" data_type: TYPE_INT8 dims: [ 3 ] }',
            "input[0]: 'x' is INT8, but the graph has FP32",
        ),
        ('max_batch_size: 4 input { name: "x" dims: [ 3 ] format: FORMAT_NHWC }', "input[0].format is NHWC, which"),
        (
            'max_batch_size: 4 input { name: "x" dims: [ 4 ] reshape { shape: [ 3 ] } }',
            "input[0]: [4] cannot be reshaped to [3]",
        ),
        (
            'output { name: "y" label_filename: "../secret" }',
            "output[0].label_filename: '../secret' cannot name a file",
        ),
        ('output { name: "y" label_filename: "none" }', "output[0].label_filename: 'none' cannot be read"),
        ('default_model_filename: "/etc/passwd"', "default_model_filename: '/etc/passwd' cannot name a file"),
        ("instance_group { kind: KIND_GPU }", "instance_group.kind is KIND_GPU, but this server runs on cpu"),
        ("instance_group { kind: KIND_CPU passive: true }", "the field 'instance_group[0].passive' is not supported"),
        (
            "dynamic_batching { default_queue_policy { timeout_action: DELAY } }",
            "the field 'dynamic_batching.default_queue_policy.timeout_action' is not supported",
        ),
        ("dynamic_batching { priority_levels: 2 }", "dynamic_batching.default_priority_level is 0; use 1 to 2"),
        ("sequence_batching { iterative_sequence: true }", "the field 'sequence_batching.iterative_sequence' is not"),
        (
            'sequence_batching { state { input_name: "h" output_name: "y" data_type: TYPE_FP32 dims: [ 3 ] } }',
            "state input 'h' is not in the graph",
        ),
        (
            'sequence_batching { control_input { name: "x" control { kind: CONTROL_SEQUENCE_START } } }',
            "control_input[0].control[0] needs one of int32_false_true",
        ),
        ("model_warmup { batch_size: 9 }", "model_warmup[0].batch_size is 9; use 1 to 1"),
        (
            'max_batch_size: 2 model_warmup { batch_size: 1 inputs { key: "q" value '
            "{ data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } } }",
            "inputs are missing, or are none of the graph: q, x",
        ),
    ],
)
async def test_a_configuration_that_cannot_be_honoured(serve: Serve, tmp_path: Path, config: str, reason: str) -> None:
    add_model(tmp_path, "model", config, plain_graphs.affine())
    calls = await serve(tmp_path)
    (entry,) = calls.server.table.entries()
    assert reason in entry.reason
    assert entry.model is None
    assert str(tmp_path) not in entry.reason
