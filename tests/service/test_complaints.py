"""What users of other servers complain about, where no other test looks at it; docs/operations.md lists them all."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2_grpc
from service import loader
from service.backend.onnx import OnnxBackend
from service.models.entry import State
from tests.service import plain_graphs
from tests.service.calls import Calls, infer_request, until
from tests.service.conftest import Serve, add_plain
from tests.service.processes import SECONDS, running

ROOT = Path(__file__).parents[2]
X = {"x": np.ones((1, 3), np.float32)}


def test_every_complaint_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    _, _, section = text.partition("## What users of other servers complain about")
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| complaint", "| hole"))]
    assert len(rows) == 26
    for row in rows:
        named = re.findall(r"`((?:\w+/)?test_\w+)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            path = ROOT / "tests" / ("" if "/" in file else "service") / f"{file}.py"
            assert re.search(rf"def {test}\(", path.read_text()), f"{file}::{test}"


async def test_a_model_that_takes_long_to_load_keeps_nobody_waiting(
    serve: Serve, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = await serve(repository, control_mode="explicit", load_model=("affine",))
    opening, go = threading.Event(), threading.Event()

    def open_slowly(*arguments: Any, **options: Any) -> OnnxBackend:
        opening.set()
        assert go.wait(SECONDS)
        return OnnxBackend(*arguments, **options)

    monkeypatch.setattr(loader, "OnnxBackend", open_slowly)
    load = asyncio.create_task(calls.server.table.load("moods"))
    try:
        await until(opening.is_set)
        for _ in range(20):
            async with asyncio.timeout(1):
                assert (await calls.infer("affine", X))["y"][0, 0] == 3
                assert await calls.status() == "SERVING", "a load does not flip health"
        assert calls.server.table.find("moods").state is State.LOADING
    finally:
        go.set()
    await load
    assert (await calls.classify_texts("good")).results


async def test_requests_of_new_sizes_take_no_longer_than_others(calls: Calls) -> None:
    loop, seconds = asyncio.get_running_loop(), []
    for rows in range(1, 33):
        start = loop.time()
        await calls.infer("affine", {"x": np.ones((rows, 3), np.float32)})
        seconds.append(loop.time() - start)
    assert max(seconds) < 1, "nothing is compiled or searched for while a caller waits"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_a_server_of_two_cores_has_few_threads(tmp_path: Path) -> None:
    names = [f"affine-{number}" for number in range(4)]
    for name in names:
        add_plain(tmp_path, name, plain_graphs.affine())
    flags = ("--compute-threads", "2", "--decode-threads", "2")
    with running("--repository", str(tmp_path), *flags) as process:
        process.wait_for("4 of 4 models ready")
        with grpc.insecure_channel(process.address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            asked = [stub.ModelInfer.future(infer_request(name, X), timeout=SECONDS) for name in names * 50]
            assert all(answer.result().outputs for answer in asked)
            threads = len(list(Path(f"/proc/{process.process.pid}/task").iterdir()))
    # 13 of the server and of gRPC; of each model one that runs it, and of ONNX Runtime one for the second core.
    assert threads <= 13 + 3 * len(names)
