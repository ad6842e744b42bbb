"""Runs of one session side by side: the first has all cores, those beside it one each, and all give the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from service.backend.beside import SideBySide
from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.errors import InferenceError
from tests import cards, graphs
from tests.service.conftest import Serve
from zoo.package import write_model
from zoo.repository import publish


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    write_model(graphs.image_graph(), cards.image_card(), path)
    return path


def pixels(rows: int, seed: int = 0) -> dict[str, Any]:
    return {"image": np.random.default_rng(seed).integers(0, 256, (rows, 8, 8, 3), np.uint8)}


class Session:
    """A session that says where its runs begin, and that keeps those in threads of ours until it is told."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.began: list[str] = []
        self.started, self.go = threading.Semaphore(0), threading.Event()

    def run(self, *arguments: Any) -> Any:
        self.began.append("ours")
        self.started.release()
        assert self.go.wait(10)
        return self.session.run(*arguments)

    def run_async(self, *arguments: Any) -> Any:
        self.began.append("pool")
        return self.session.run_async(*arguments)


def test_the_first_run_is_in_our_thread_and_those_beside_it_in_the_pool(file: Path) -> None:
    session = Session(file)
    runs = SideBySide(session)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(runs, ["logits"], pixels(2), None)
        assert session.started.acquire(timeout=10)
        beside = [runs(["logits"], pixels(2, seed), None)[0] for seed in (1, 2)]
        session.go.set()
        assert session.began == ["ours", "pool", "pool"]
        expected = [session.session.run(["logits"], pixels(2, seed))[0] for seed in range(3)]
        np.testing.assert_allclose([first.result()[0], *beside], expected, rtol=1e-5)
    runs(["logits"], pixels(1), None)
    assert session.began[-1] == "ours", "when the first has ended, the next one is first"


def test_an_error_beside_another_run_is_the_error_of_a_lone_one(file: Path) -> None:
    backend = OnnxBackend(file, engine=Engine(threads=2))
    wrong = {"image": np.zeros((1, 3, 3, 3), np.float32)}
    with pytest.raises(InferenceError) as alone:
        backend.run(wrong)
    backend._run._ours.acquire()  # type: ignore[attr-defined]
    with pytest.raises(InferenceError) as beside:
        backend.run(wrong)
    assert "Unexpected input data type" in alone.value.detail
    assert "Unexpected input data type" in beside.value.detail
    assert backend.run(pixels(1), ["logits"])["logits"].shape[0] == 1, "and nothing is lost"


def test_a_session_may_end_with_the_last_run_beside_another(file: Path) -> None:
    for seed in range(30):
        runs = SideBySide(Session(file).session)
        runs._ours.acquire()
        with ThreadPoolExecutor(3) as pool:
            results = list(pool.map(runs, [["logits"]] * 3, [pixels(1, seed)] * 3, [None] * 3))
            del runs
        assert all(np.array_equal(result[0], results[0][0]) for result in results)


@pytest.mark.parametrize(
    ("threads", "seconds", "at_a_time", "rows"),
    [(2, 0.02, 2, [4, 4, 4, 4, 1, 1, 1, 1]), (1, 0.02, 1, [4, 4, 4, 4, 4]), (2, 0.0, 1, [20])],
)
async def test_pictures_that_take_long_are_run_side_by_side_a_few_at_a_time(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    seconds: float,
    at_a_time: int,
    rows: list[int],
) -> None:
    running, most, seen = 0, 0, []

    def run(self: OnnxBackend, inputs: dict[str, Any], outputs: Sequence[str] = ()) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        seen.append(len(inputs["image"]))
        time.sleep(seconds)
        running -= 1
        return plain_run(self, inputs, outputs)

    plain_run = OnnxBackend.run
    monkeypatch.setattr(OnnxBackend, "run", run)
    monkeypatch.setattr("service.models.pace.SHORT_ROW_SECONDS", 0.01)
    publish(graphs.image_graph(), cards.image_card(), tmp_path, "shades")
    calls = await serve(tmp_path, compute_threads=threads)
    most = 0
    seen.clear()
    answer = await calls.infer("shades", pixels(20))
    assert len(answer["logits"]) == 20
    assert most == at_a_time
    assert seen == rows
