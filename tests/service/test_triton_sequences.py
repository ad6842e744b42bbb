"""Sequences as a configuration made for Triton describes them: the server keeps their state."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
import pytest

from inference import grpc_service_pb2 as pb
from tests.service import stateful_graphs
from tests.service.calls import Calls, failure, numbers
from tests.service.conftest import Serve
from tests.service.steps import one, run, step
from tests.service.triton_layout import ACCUMULATOR, add_model


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several models with state, each with a configuration."""
    folder = tmp_path_factory.mktemp("triton")
    add_model(folder, "accumulate", ACCUMULATOR, stateful_graphs.accumulator())
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
