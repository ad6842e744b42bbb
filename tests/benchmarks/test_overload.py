"""Several times the capacity: what is let in keeps its latency, the rest is refused at once, nothing collapses.

A run of the model is made to last 20 ms by sleeping, as if a GPU computed: what is short is the model, and neither the
caller nor whatever else the machine does takes it from the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from service.backend.contract import Tensors
from tests.benchmarks.open_loop import HEADER, Load, percentile, steady, summary
from tests.benchmarks.questions import Question, infer_question
from tests.service import plain_graphs
from tests.service.calls import infer_request, numbers
from tests.service.conftest import add_plain, serving

RUN_SECONDS = 0.02
QUEUE_ROWS = 16
SECONDS = 2.0
TURNS = 4
TIMES = 4
"""The offered load in capacities."""


def _question(number: int) -> Question:
    def is_right(response: pb.ModelInferResponse) -> bool:
        return bool((numbers(response)["y"] == 2 * number + 1).all())  # an answer tells its question

    return infer_question(infer_request("affine", {"x": np.full((1, 3), number, np.float32)}), is_right)


@pytest.mark.slow
async def test_several_times_the_capacity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    limits = {"max_batch_size": 1, "max_queue_rows": QUEUE_ROWS, "max_items_per_request": 1}
    async with serving(tmp_path, **limits) as calls:
        backend = calls.server.table.get("affine")._batched._runner._backend
        run = backend.run

        def slow_run(inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
            time.sleep(RUN_SECONDS)
            return run(inputs, outputs)

        monkeypatch.setattr(backend, "run", slow_run)
        await _measure(calls.server.address, capsys)


async def _measure(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Capacity and overload in turns, so that whatever else the machine does meets both."""
    questions = [_question(number) for number in range(100)]
    full, over = Load(address), Load(address)
    for _ in range(TURNS):
        capacity = await full.saturate(questions, callers=4, seconds=SECONDS)
        await over.run(questions, steady(TIMES * capacity), asyncio.sleep(SECONDS))
    accepted = [outcome for outcome in over.outcomes if outcome.code == "OK"]
    refused = [outcome for outcome in over.outcomes if outcome.code != "OK"]
    capacity, throughput = (len(outcomes) / (TURNS * SECONDS) for outcomes in (full.outcomes, accepted))
    with capsys.disabled():
        print(f"\ncapacity {capacity:.0f}/s; offered {len(over.outcomes) / (TURNS * SECONDS):.0f}/s;", end=" ")
        print(f"answered {throughput:.0f}/s\n{HEADER}")
        print(summary("at capacity", full.outcomes), summary("accepted", accepted), sep="\n")
        print(f"refused: {len(refused)}, p50 {percentile(refused, 50):.1f} ms, p99 {percentile(refused, 99):.1f} ms")
    run_ms = 1e3 / capacity
    assert {outcome.code for outcome in refused} == {"RESOURCE_EXHAUSTED"}
    assert all(outcome.right for outcome in accepted)
    assert throughput > 0.8 * capacity, "throughput falls under overload"
    # Twice the time of a full queue: a busy machine lends its cores late. Without a bound it would be seconds.
    assert percentile(accepted, 95) < 2 * (QUEUE_ROWS + 1) * run_ms, "the queue bounds the latency"
    assert percentile(refused, 50) < run_ms, "refusing takes no turn in the queue"
