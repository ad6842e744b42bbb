"""How runs are cut to the pace of a model: small models waste nothing around a run, slow ones keep nobody waiting."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.backend.contract import Device, Tensors
from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.models.loading import load_model
from service.models.pace import INSTANT_SECONDS, LonePace
from tests import cards, graphs
from tests.service.conftest import Serve
from zoo.package import write_model
from zoo.repository import publish

SHORT_SECONDS = 0.02


class Paced(OnnxBackend):
    """A session whose runs take a time of their own."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(path)
        self.seconds, self.closed = seconds, False

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        time.sleep(self.seconds)
        return super().run(inputs, outputs)

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    write_model(graphs.text_graph(), cards.text_card(), path)
    return path


@pytest.fixture
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """More counts as no time: where there is other work, even a run of nothing takes longer than a millisecond."""
    monkeypatch.setattr("service.models.pace.SHORT_ROW_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr("service.models.pace.INSTANT_SECONDS", SHORT_SECONDS)


@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize(("seconds", "frugal"), [(0.0, True), (2 * SHORT_SECONDS, False)])
def test_a_model_that_takes_no_time_gets_one_core(file: Path, seconds: float, frugal: bool) -> None:
    opened: list[Paced] = []

    def open_backend(path: Path) -> Paced:
        opened.append(Paced(path, seconds))
        return opened[-1]

    loaded = load_model(file, open_backend, open_backend, max_batch_rows=4)
    assert len(opened) == (2 if frugal else 1)
    assert loaded.backend is opened[-1]
    assert loaded.frugal == frugal
    assert [backend.closed for backend in opened[:-1]] == [True] * frugal


@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize(
    ("config", "threads"),
    [
        (None, [3, 1]),
        ('parameters { key: "intra_op_thread_count" value { string_value: "2" } }', [2]),
        ("instance_group { count: 3 }", [1]),
    ],
)
async def test_threads_that_are_set_win(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str | None, threads: list[int]
) -> None:
    opened: list[int] = []

    def open_model(path: Path, device: Device, engine: Engine) -> OnnxBackend:
        opened.append(engine.threads)
        return OnnxBackend(path, device, engine)

    monkeypatch.setattr("service.loader.OnnxBackend", open_model)
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    if config:
        (tmp_path / "moods" / "config.pbtxt").write_text(config)
    calls = await serve(tmp_path, compute_threads=3)
    await calls.classify_texts("good")
    assert opened == threads


@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize(("seconds", "on_the_spot"), [(0.0, True), (2 * SHORT_SECONDS, False)])
async def test_a_run_that_takes_no_time_is_done_on_the_spot(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, on_the_spot: bool
) -> None:
    threads: list[int] = []

    def run(self: OnnxBackend, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        threads.append(threading.get_ident())
        time.sleep(seconds)
        return plain_run(self, inputs, outputs)

    plain_run = OnnxBackend.run
    monkeypatch.setattr(OnnxBackend, "run", run)
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    calls = await serve(tmp_path, model_metrics=False)
    threads.clear()
    await calls.classify_texts("good")
    assert [thread == threading.get_ident() for thread in threads] == [on_the_spot]


def test_long_requests_are_not_done_on_the_spot_until_they_prove_short() -> None:
    pace = LonePace(seconds_per_byte=INSTANT_SECONDS / 1000)
    assert pace.is_instant(900)
    assert not pace.is_instant(5000)
    pace.took(5000, INSTANT_SECONDS / 2)
    assert pace.is_instant(5001), "as large as what was seen"
    assert not pace.is_instant(50_000)


def test_what_was_short_may_prove_long() -> None:
    pace = LonePace(seconds_per_byte=INSTANT_SECONDS / 1000)
    for _ in range(20):
        pace.took(500, 3 * INSTANT_SECONDS)
    assert not pace.is_instant(500)
    for _ in range(20):
        pace.took(500, INSTANT_SECONDS / 3)
    assert pace.is_instant(500)


def test_where_nobody_knows_nothing_is_done_on_the_spot() -> None:
    pace = LonePace(seconds_per_byte=math.inf)
    pace.took(500, 0.0)
    assert not pace.is_instant(500)


async def test_a_text_that_is_longer_than_the_golden_ones_is_done_on_the_spot_once_it_was_short(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def run(self: OnnxBackend, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        threads.append(threading.get_ident())
        return plain_run(self, inputs, outputs)

    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    calls = await serve(tmp_path, model_metrics=False)
    plain_run = OnnxBackend.run
    monkeypatch.setattr(OnnxBackend, "run", run)
    for _ in range(20):  # a machine that stalls may let one of them look long
        await calls.classify_texts("good " * 300)
        if threads[-1] == threading.get_ident():
            break
    assert threads[0] != threading.get_ident()
    assert threads[-1] == threading.get_ident()


@pytest.mark.parametrize(("seconds", "runs"), [(0.0, [20]), (0.02, [8, 8, 4])])
async def test_what_takes_long_runs_in_batches_that_are_not_too_large(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, runs: list[int]
) -> None:
    rows: list[int] = []

    def run(self: OnnxBackend, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        rows.append(len(next(iter(inputs.values()))))
        time.sleep(seconds)
        return plain_run(self, inputs, outputs)

    plain_run = OnnxBackend.run
    monkeypatch.setattr(OnnxBackend, "run", run)
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    calls = await serve(tmp_path)
    rows.clear()
    await calls.classify_texts(*["good"] * 20)
    assert rows == runs
