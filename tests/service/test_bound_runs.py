"""Runs in memory that stays, and recorded runs: the code of the GPU, on the CPU's sessions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from service.backend.binding import BoundRuns
from service.backend.buffers import LARGEST_BYTES, Buffers, page_locked
from service.backend.contract import Device
from service.backend.cuda_graphs import MOST_GRAPHS, GraphRuns
from service.backend.device import CPU
from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.backend.opening import open_session
from service.backend.shapes import OutputShapes
from service.backend.signature import read_axes
from service.errors import InferenceError, OutOfMemoryError
from tests.service import plain_graphs
from zoo.errors import PackageError


class Memory:
    """Ordinary memory that is counted; none of it is clean."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, size: int) -> np.ndarray:
        self.sizes.append(size)
        return np.full(size, 0xEE, np.uint8)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[bytes], tuple[Any, OutputShapes]]:
    def open_graph(data: bytes) -> tuple[Any, OutputShapes]:
        file = tmp_path / "model.onnx"
        file.write_bytes(data)
        session = open_session(file, [(CPU.provider, {})], 1)
        axes = [[read_axes(node) for node in nodes] for nodes in (session.get_inputs(), session.get_outputs())]
        return session, OutputShapes(*axes)

    return open_graph


Opened = Callable[[bytes], tuple[Any, OutputShapes]]


def rows(count: int, width: int = 3, start: float = 0.0) -> np.ndarray:
    return np.arange(start, start + count * width, dtype=np.float32).reshape(count, width)


def wrong_name() -> bytes:
    """x float32 [batch, 3] -> y [batch, 3] by its names, in truth [3, batch]."""
    node = helper.make_node("Transpose", ["x"], ["y"])
    axes = ("batch", "width")
    return plain_graphs.make_model([node], {"x": ("FP32", axes)}, {"y": ("FP32", axes)})


def test_bound_runs_answer_as_plain_ones_and_keep_their_memory(opened: Opened, memory: Memory) -> None:
    session, shapes = opened(plain_graphs.weighted_sum())
    run, options = BoundRuns(session, shapes, memory), onnxruntime.RunOptions()
    answers = []
    for count in (4, 4, 2, 1, 4):
        inputs = {"a": rows(count, 2, count), "b": np.full((count, 2), count)}
        answers.append((run(["difference", "sum"], inputs, options), session.run(["difference", "sum"], inputs)))
    for got, expected in answers:  # compared at the end: no later run wrote into an earlier answer
        np.testing.assert_array_equal(got, expected)
    assert len(memory.sizes) == 4, "two inputs and two outputs, of the largest batch"


def test_bound_runs_at_the_same_time_have_memory_of_their_own(opened: Opened, memory: Memory) -> None:
    session, shapes = opened(plain_graphs.affine())
    run, options = BoundRuns(session, shapes, memory), onnxruntime.RunOptions()

    def ask(number: int) -> bool:
        x = rows(8, start=number)
        return bool((run(["y"], {"x": x}, options)[0] == 2 * x + 1).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(200)))
    assert len(memory.sizes) <= 8


def test_bound_runs_take_outputs_as_they_come_where_names_of_axes_lie(opened: Opened, memory: Memory) -> None:
    session, shapes = opened(wrong_name())
    run, options = BoundRuns(session, shapes, memory), onnxruntime.RunOptions()
    for count in (2, 3, 5, 2):
        np.testing.assert_array_equal(run(["y"], {"x": rows(count)}, options)[0], rows(count).T)


def test_a_bound_run_that_fails_leaves_the_next_one_alone(opened: Opened, memory: Memory) -> None:
    session, shapes = opened(plain_graphs.lookup())
    run, options = BoundRuns(session, shapes, memory), onnxruntime.RunOptions()
    with pytest.raises(RuntimeError, match=r"Gather"):
        run(["y"], {"index": np.array([[99]])}, options)
    assert run(["y"], {"index": np.array([[3]])}, options)[0].tolist() == [[30]]


def test_buffers_grow_and_give_up_on_the_largest(memory: Memory) -> None:
    buffers = Buffers(memory)
    assert buffers.view("x", (2, 3), np.float32).shape == (2, 3)
    assert buffers.view("x", (0, 3), np.float32).shape == (0, 3)
    assert buffers.view("x", (4, 3), np.float32).nbytes == 48
    assert buffers.view("y", (), bool).shape == ()
    assert memory.sizes == [24, 48, 1]
    assert buffers.view("z", (LARGEST_BYTES + 1,), np.uint8).nbytes == LARGEST_BYTES + 1
    assert memory.sizes == [24, 48, 1]


def test_page_locked_memory_is_ordinary_memory_where_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    assert page_locked(99)(16).nbytes == 16
    assert "16 bytes of page-locked memory" in caplog.text


def test_recorded_runs_answer_as_plain_ones(opened: Opened, memory: Memory) -> None:
    session, shapes = opened(plain_graphs.weighted_sum())
    run, options = GraphRuns(session, shapes, memory, CPU), onnxruntime.RunOptions()
    answers = []
    for count in (1, 4, 1, 4, 4):
        inputs = {"a": rows(count, 2, count), "b": np.full((count, 2), count)}
        answers.append((run(["sum"], inputs, options), session.run(["sum"], inputs)))
    for got, expected in answers:
        np.testing.assert_array_equal(got, expected)
    assert run.count == 2


def test_recorded_runs_are_few(opened: Opened, memory: Memory) -> None:
    session, shapes = opened(plain_graphs.affine())
    run, options = GraphRuns(session, shapes, memory, CPU), onnxruntime.RunOptions()
    for count in range(1, MOST_GRAPHS + 4):
        np.testing.assert_array_equal(run(["y"], {"x": rows(count)}, options)[0], 2 * rows(count) + 1)
    assert run.count == MOST_GRAPHS


def test_a_run_that_fails_is_not_recorded(opened: Opened, memory: Memory) -> None:
    session, shapes = opened(plain_graphs.lookup())
    run, options = GraphRuns(session, shapes, memory, CPU), onnxruntime.RunOptions()
    with pytest.raises(RuntimeError, match=r"Gather"):
        run(["y"], {"index": np.array([[99]])}, options)
    assert run.count == 0
    assert run(["y"], {"index": np.array([[3]])}, options)[0].tolist() == [[30]]


def test_which_shapes_are_known_before_a_run(opened: Opened) -> None:
    _, shapes = opened(plain_graphs.affine_and_count())
    assert shapes.all_known
    assert shapes.of({"x": rows(5)}) == {"y": (5, 3), "count": ()}
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    _, shapes = opened(plain_graphs.make_model(nodes, {"x": ("FP32", ("n",))}, {"y": ("INT64", (1, "found"))}))
    assert not shapes.all_known
    assert shapes.of({"x": np.ones(3, np.float32)}) == {}


@pytest.fixture
def on_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OnnxBackend]:
    """Opens a graph as on CUDA; what computes is the CPU, and CUDA graphs are refused as ONNX Runtime does it."""
    asked: list[bool] = []

    def providers(ordinal: int, engine: Engine, model: Path) -> list[tuple[str, dict[str, str]]]:
        asked.append(engine.cuda_graphs)
        return [(CPU.provider, {})]

    def open_graph(data: bytes, *, cuda_graphs: bool = False, whole: bool = True) -> OnnxBackend:
        def opening(path: Path, wanted: Any, threads: int) -> Any:
            if asked[-1] and not whole:
                text = "This session cannot use the graph capture feature as requested by the user"
                raise PackageError(f"{path}: ONNX Runtime refuses it: {text}")
            return open_session(path, wanted, threads)

        monkeypatch.setattr("service.backend.onnx.cuda_providers", providers)
        monkeypatch.setattr("service.backend.onnx.open_session", opening)
        file = tmp_path / "model.onnx"
        file.write_bytes(data)
        return OnnxBackend(file, Device("cuda:0", CPU.provider), Engine(cuda_graphs=cuda_graphs))

    return open_graph


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_a_backend_on_cuda_answers_as_one_on_the_cpu(
    on_cuda: Callable[..., OnnxBackend], cuda_graphs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for data, x in {
        plain_graphs.affine(): rows(3),
        plain_graphs.echo("BYTES"): np.array([["a", "b"]], object),
        plain_graphs.bfloat16(): np.array([[0x3F80, 0x4000]], np.uint16),
        wrong_name(): rows(4),
    }.items():
        backend = on_cuda(data, cuda_graphs=cuda_graphs, whole=False)
        again = [backend.run({"x": x})["y"] for _ in range(3)]
        if cuda_graphs:
            assert "runs without CUDA graphs, as not all of it runs on the GPU" in caplog.text
        for got in again:
            np.testing.assert_array_equal(got, again[0])
        backend.close()
        with pytest.raises(InferenceError):
            backend.run({"x": x})


@pytest.mark.parametrize("data", [plain_graphs.echo("BYTES"), plain_graphs.bfloat16()])
def test_tensors_that_cannot_stay_on_the_gpu_are_not_recorded(
    on_cuda: Callable[..., OnnxBackend], data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    on_cuda(data, cuda_graphs=True)
    assert "runs without CUDA graphs, as the shape of an output is not known before a run" in caplog.text


def test_a_backend_on_cuda_tells_of_memory_that_is_short(
    on_cuda: Callable[..., OnnxBackend], caplog: pytest.LogCaptureFixture
) -> None:
    backend = on_cuda(plain_graphs.hungry())
    with pytest.raises(OutOfMemoryError):
        backend.run({"mebibytes": np.array([[2**34]])})
    assert backend.run({"mebibytes": np.array([[1]])})["y"].tolist() == [[1]]
    assert "the arena cannot be made smaller" in caplog.text, "there is none of a GPU here, and nobody suffers"
    assert backend.run({"mebibytes": np.array([[1]])})["y"].tolist() == [[1]]
