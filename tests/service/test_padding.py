"""Batches of few sizes: the rows that are added change no answer, and nobody sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from service.backend.contract import Device, Signature, Tensors, TensorSpec
from service.backend.onnx import OnnxBackend
from service.backend.padding import PaddedBackend, batch_sizes
from service.errors import OutOfMemoryError
from service.models.loading import load_model
from service.models.model_settings import ModelSettings
from tests.service import plain_graphs

SPEC = TensorSpec("x", "FP32", (-1, 2))


class FakeBackend:
    """Doubles x, and has a secret output without rows; remembers its runs, and has memory for so many rows."""

    signature = Signature((SPEC,), (TensorSpec("y", "FP32", (-1, 2)),), None)
    device = Device("cuda:0", "CUDAExecutionProvider")

    def __init__(self, memory_rows: int = 10**9) -> None:
        self.memory_rows = memory_rows
        self.runs: list[np.ndarray] = []
        self.closed = False

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        x = inputs["x"]
        self.runs.append(x)
        if len(x) > self.memory_rows:
            raise OutOfMemoryError(f"{len(x)} rows")
        answer = {"y": 2 * x, "all": np.zeros(3, np.float32)}
        return {name: answer[name] for name in outputs or ["y"]}

    def shrink(self) -> None:
        raise AssertionError("a GPU keeps its memory")

    def close(self) -> None:
        self.closed = True


class OnCuda(OnnxBackend):
    """A session on the CPU that says that it is on CUDA, and remembers the rows of every run."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.device = Device("cuda:0", "CUDAExecutionProvider")
        self.rows: list[int] = []

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        self.rows.append(len(next(iter(inputs.values()))))
        return super().run(inputs, outputs)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (8, (1, 2, 4, 8)), (33, (1, 2, 4, 8, 16, 32, 33))],
)
def test_sizes_are_powers_of_two_and_the_largest(most: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(most) == sizes


def test_a_batch_is_padded_with_its_last_row_and_cut_again() -> None:
    inner = FakeBackend()
    backend = PaddedBackend(inner, batch_sizes(8))
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    outputs = backend.run({"x": x}, ["y"])
    np.testing.assert_array_equal(outputs["y"], 2 * x)
    np.testing.assert_array_equal(inner.runs[0], np.concatenate([x, x[-1:], x[-1:], x[-1:]]))
    assert backend.run({"x": x}, ["all"])["all"].shape == (3,), "what has no rows is left as it is"
    for rows, ran in {4: 4, 8: 8, 9: 9, 0: 0}.items():
        assert backend.run({"x": np.ones((rows, 2), np.float32)})["y"].shape == (rows, 2)
        assert len(inner.runs[-1]) == ran
    assert backend.signature is inner.signature
    backend.close()
    assert inner.closed


def test_a_model_on_cuda_runs_only_sizes_that_were_warmed(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(plain_graphs.affine())
    loaded: list[OnCuda] = []

    def opened(path: Path) -> OnCuda:
        loaded.append(OnCuda(path))
        return loaded[-1]

    model = load_model(file, opened, max_batch_rows=8, settings=ModelSettings(instances=2))
    (backend,) = loaded
    warmed = set(backend.rows)
    assert warmed == {1, 2, 4, 8}
    assert backend.rows.count(8) == 2, "once for each run that may be under way"
    for rows in range(1, 9):
        x = np.random.default_rng(rows).random((rows, 3), np.float32)
        np.testing.assert_allclose(model.backend.run({"x": x})["y"], 2 * x + 1)
    assert set(backend.rows) == warmed


@pytest.mark.parametrize("data", [plain_graphs.running_sum(), plain_graphs.affine((1, 3)), plain_graphs.affine((4, 3))])
def test_what_is_no_batch_is_not_padded(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(data)
    assert isinstance(load_model(file, OnCuda, max_batch_rows=8).backend, OnCuda)


def test_a_cpu_takes_batches_as_they_come(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(plain_graphs.affine())
    assert isinstance(load_model(file, OnnxBackend, max_batch_rows=8).backend, OnnxBackend)


def test_a_model_loads_whose_largest_batch_does_not_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(plain_graphs.affine())
    inner = FakeBackend(memory_rows=4)
    model = load_model(file, lambda path: inner, max_batch_rows=16)
    assert [len(x) for x in inner.runs if len(x) > 1][-3:] == [2, 4, 8]
    assert "a batch of 8 rows does not fit" in caplog.text
    assert model.backend.run({"x": np.ones((3, 2), np.float32)}, ["y"])["y"].shape == (3, 2)
