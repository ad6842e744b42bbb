"""The benchmark in its smallest form, on a real server: the JSON holds what was measured, wrong answers are found."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console
from rich.progress import Progress

from inference import grpc_service_pb2 as pb
from tests import graphs
from tests.benchmarks import bench, report
from tests.benchmarks.cells import Cell, Running, measure
from tests.benchmarks.open_loop import Lateness, Load, Outcome, poisson, steady
from tests.benchmarks.peers import PEERS
from tests.benchmarks.peers.peer import Peer
from tests.benchmarks.results import describe
from tests.benchmarks.workloads import Workload
from tests.service.conftest import add_plain, serving

needs_h2load = pytest.mark.skipif(
    not shutil.which("h2load"), reason="h2load is not installed; on Debian and Ubuntu: apt-get install nghttp2-client"
)


def small_workload(repository: Path) -> Workload:
    """The newest of three readings, twice; a model that is made in no time."""
    history = np.arange(4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2)
    expected = np.repeat(history[:, -1:, :1], 2, axis=1)
    file = add_plain(repository, "load", graphs.forecast_graph())
    return Workload("load", "load", file, {"history": history}, {"forecast": expected}, batches=(1, 4))


@needs_h2load
def test_smallest_run(tmp_path: Path) -> None:
    workload = small_workload(tmp_path / "models")
    options = bench.parse(["--callers", "2", "--items", "1", "--seconds", "0.05", "--only-load"])
    results = describe()
    with Progress(console=Console(quiet=True)) as progress:
        bench.Bench(options, results, progress).run([workload])
    assert not bench.has_failed(results)
    report.show(results, Console(quiet=True))
    report.save(results, tmp_path / "results" / "bench.json")
    found = json.loads((tmp_path / "results" / "bench.json").read_text())
    check_shape(found)
    assert {(cell["items"], cell["callers"]) for cell in found["cells"]} == {(1, 2)}


def check_shape(found: dict[str, Any]) -> None:
    assert {"machine", "versions", "command", "raw", "echo", "open_loops"} <= found.keys()
    for cell in found["cells"]:
        assert cell["problem"] == ""
        assert cell["checked"] >= 2
        assert 0 < cell["p50_ms"] <= cell["p95_ms"] <= cell["p99_ms"]
        assert cell["items_per_second"] == pytest.approx(cell["items"] * cell["requests_per_second"])
        assert cell["resident_mib"] > cell["proportional_mib"] > 1
        assert cell["of_raw"] > 0
        assert cell["of_echo"] > 0
    assert {floor["kind"] for floor in found["echo"]} == {"asyncio", "threads", "pinned"}
    assert found["raw"]["load"]["items_per_second"] > 0
    assert [loop["arrivals"] for loop in found["open_loops"]] == ["steady", "Poisson"]
    for loop in found["open_loops"]:
        assert loop["failed"] == {}
        assert loop["wrong"] == 0


@needs_h2load
async def test_a_server_with_another_model_is_found_out(tmp_path: Path) -> None:
    workload = small_workload(tmp_path / "here")
    add_plain(tmp_path / "there", "load", oldest_reading())
    async with serving(tmp_path / "there") as calls:
        cell = await asyncio.to_thread(measure_target, calls.server.address, workload)
    assert cell.problem.startswith("before the load: forecast differs by")


@needs_h2load
async def test_a_server_that_refuses_is_found_out(tmp_path: Path) -> None:
    workload = small_workload(tmp_path)
    async with serving(tmp_path, requests_per_second=5) as calls:
        cell = await asyncio.to_thread(measure_target, calls.server.address, workload)
    assert cell.problem.startswith("answers have ")


async def test_wrong_answers_of_an_open_loop_are_counted(tmp_path: Path) -> None:
    workload = small_workload(tmp_path / "here")
    add_plain(tmp_path / "there", "load", oldest_reading())
    async with serving(tmp_path / "there") as calls:
        load = Load(calls.server.address)
        await load.run([workload.question(1)], steady(100), asyncio.sleep(0.1))
    assert load.outcomes
    assert not any(outcome.right for outcome in load.outcomes)


def test_arrivals_have_the_rate_that_was_asked_for() -> None:
    times = list(islice(poisson(50), 5000))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(100, rel=0.05)
    assert list(islice(steady(50), 3)) == [0, 0.02, 0.04]


def test_what_an_ideal_server_makes_of_the_arrivals() -> None:
    """One that takes a second for each request, one after the other, at 70 % of its capacity."""

    def p99_over_p50(times: Iterable[float]) -> float:
        free, seconds = 0.0, []
        for time in islice(times, 200_000):
            free = max(free, time) + 1
            seconds.append(free - time)
        p50, p99 = np.percentile(seconds, (50, 99))
        return float(p99 / p50)

    assert p99_over_p50(steady(0.7)) == pytest.approx(1)
    assert p99_over_p50(poisson(0.7)) == pytest.approx(4.3, rel=0.05)


def test_a_generator_that_falls_behind_says_so() -> None:
    def kept(late: float, count: int) -> bool:
        outcomes = [Outcome(number / 100, 0.01, "OK", late=late) for number in range(count)]
        return Lateness.of(outcomes, asked_per_second=100, seconds=10).behind

    assert not kept(late=0.001, count=1000)
    assert kept(late=0.02, count=1000)
    assert kept(late=0.001, count=800)


def oldest_reading() -> bytes:
    """Another model of the same inputs and outputs."""
    model = onnx.load_from_string(graphs.forecast_graph())
    for constant in model.graph.initializer:
        if constant.name in ("start", "end"):
            constant.int64_data[0] = {"start": 0, "end": 1}[constant.name]
    return bytes(model.SerializeToString())


def measure_target(address: str, workload: Workload) -> Cell:
    """One cell of a server of which only the address is known."""
    return measure(Running("target", address), "load", workload.question, items=2, callers=1, seconds=0.1)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_other_servers_can_be_asked(peer: Peer, tmp_path: Path) -> None:
    assert peer.adapter.is_file()
    workload = small_workload(tmp_path)
    question = peer.ask(workload, 2, 1)
    right, wrong = (answer_of(peer, workload.expected["forecast"][start : start + 2]) for start in (1, 2))
    assert question.judge(right).wrong == ""
    assert question.judge(wrong).wrong.startswith("forecast differs by")


def answer_of(peer: Peer, forecast: np.ndarray) -> bytes:
    """What a server of the kind answers."""
    if peer.name == "litserve":
        return json.dumps({"forecast": forecast.tolist()}).encode()
    if peer.name == "torchserve":
        return b"\x0a" + bytes([forecast.nbytes]) + forecast.tobytes()
    response = pb.ModelInferResponse(raw_output_contents=[forecast.tobytes()])
    response.outputs.add(name="forecast", datatype="FP32", shape=forecast.shape)
    return response.SerializeToString()
