"""ONNX Runtime as a backend, and the look for a device."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from service.backend.device import CPU, PROBE_MODEL
from service.backend.onnx import OnnxBackend
from service.backend.signature import make_signature
from service.cpus import available_cpus
from service.errors import InferenceError, OutOfMemoryError
from service.models.loading import load_model
from tests.service import plain_graphs
from zoo.errors import PackageError


def opened(tmp_path: Path, data: bytes) -> OnnxBackend:
    file = tmp_path / "model.onnx"
    file.write_bytes(data)
    return OnnxBackend(file)


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_the_probe_model_is_what_it_says() -> None:
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    assert onnx.load_from_string(PROBE_MODEL) == helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )


def test_a_run(tmp_path: Path) -> None:
    backend = opened(tmp_path, plain_graphs.weighted_sum())
    inputs = {"a": np.ones((3, 2), np.float32), "b": np.ones((3, 2), np.int64)}
    assert list(backend.run(inputs)) == ["sum", "difference"]
    assert list(backend.run(inputs, ["difference"])) == ["difference"]
    assert backend.device == CPU


def test_failures_are_translated_and_the_next_run_works(tmp_path: Path) -> None:
    backend = opened(tmp_path, plain_graphs.lookup())
    with pytest.raises(InferenceError) as caught:
        backend.run({"index": np.array([[99]])})
    assert "Gather" in caught.value.detail
    assert caught.value.__cause__ is not None
    assert backend.run({"index": np.array([[3]])})["y"].tolist() == [[30]]


def test_what_does_not_fit_into_memory_is_told_and_forgotten(tmp_path: Path) -> None:
    backend = opened(tmp_path, plain_graphs.hungry())

    def run(mebibytes: int) -> list[list[int]]:
        return backend.run({"mebibytes": np.array([[mebibytes]])})["y"].tolist()

    small = resident_bytes()
    assert run(256) == [[256]]
    assert resident_bytes() - small > 200 * 2**20, "the arena keeps it"
    with pytest.raises(OutOfMemoryError):
        run(2**34)
    assert run(1) == [[1]]
    assert resident_bytes() - small < 100 * 2**20, "after a run that did not fit, the next one gives it back"
    assert run(2) == [[2]]


def test_closing_ends_a_run_that_is_under_way(tmp_path: Path) -> None:
    backend = opened(tmp_path, plain_graphs.busy())
    ended: list[BaseException] = []

    def run() -> None:
        try:
            backend.run({"rounds": np.array([[2_000_000_000]])})
        except InferenceError as exc:
            ended.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    backend.close()
    thread.join(10)
    assert ended


def test_types_that_cannot_be_sent_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT8E4M3FN, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT8E4M3FN, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    with pytest.raises(PackageError, match=r"'x' is a tensor\(float8e4m3fn\), which cannot be sent"):
        opened(tmp_path, model.SerializeToString())


@pytest.mark.parametrize(
    ("inputs", "outputs", "max_batch"),
    [
        ([("batch", 3)], [("batch", 3)], None),
        ([("batch", 3)], [("other", 3)], None),
        ([(None, 3), ("batch",)], [(None,)], None),
        ([("batch", 3), ("other", 3)], [("batch", 3)], 0),
        ([("batch", 3)], [(1, 3)], 0),
        ([("batch", 3)], [()], 0),
        ([(1, 3)], [(1, 5)], 1),
        ([(4, 3)], [(4, 3)], 0),
        ([], [(1,)], 0),
    ],
)
def test_the_batch_axis(
    inputs: list[tuple[object, ...]], outputs: list[tuple[object, ...]], max_batch: int | None
) -> None:
    signature = make_signature(
        [(f"i{n}", "FP32", shape) for n, shape in enumerate(inputs)],  # type: ignore[misc]
        [(f"o{n}", "FP32", shape) for n, shape in enumerate(outputs)],  # type: ignore[misc]
    )
    assert signature.max_batch == max_batch


def test_a_free_first_axis_is_a_batch_only_if_rows_are_independent(tmp_path: Path) -> None:
    def loaded(data: bytes) -> int | None:
        file = tmp_path / "model.onnx"
        file.write_bytes(data)
        return load_model(file, OnnxBackend, max_batch_rows=8).signature.max_batch

    assert loaded(plain_graphs.affine()) is None
    assert loaded(plain_graphs.echo("BYTES")) is None
    assert loaded(plain_graphs.running_sum()) == 0
    assert loaded(plain_graphs.affine((1, 3))) == 1
    assert loaded(plain_graphs.affine((4, 3))) == 0


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read in /proc")
def test_what_checking_a_model_took_is_given_back(tmp_path: Path) -> None:
    def opened_and_checked(path: Path) -> OnnxBackend:
        backend = OnnxBackend(path)
        backend.run({"mebibytes": np.array([[256]])})
        assert resident_bytes() - before > 200 * 2**20
        return backend

    file = tmp_path / "model.onnx"
    file.write_bytes(plain_graphs.hungry())
    before = resident_bytes()
    model = load_model(file, opened_and_checked, max_batch_rows=8)
    assert resident_bytes() - before < 100 * 2**20
    assert model.backend.run({"mebibytes": np.array([[64]])})["y"] == 64, "it takes what it needs again"


def test_cores_are_what_the_container_grants(tmp_path: Path) -> None:
    free = available_cpus(tmp_path)
    assert free >= 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cpus(tmp_path) == free
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert available_cpus(tmp_path) == min(free, 2)


def test_cores_under_the_older_cgroups(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cpus(tmp_path) == 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert available_cpus(tmp_path) >= 1
