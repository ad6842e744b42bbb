"""The worst days of a server: killed at any moment, a full disk, damaged files. It starts again, and serves what is
whole."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from tests import cards, graphs
from tests.service import plain_graphs
from tests.service.calls import infer_request, numbers
from tests.service.conftest import add_plain
from tests.service.processes import SECONDS, Process, running
from zoo.errors import ZooError
from zoo.package import read_card
from zoo.repository import publish, scan

pytestmark = pytest.mark.timeout(600)
X = np.ones((1, 3), np.float32)


def _ask(server: Process) -> float:
    with grpc.insecure_channel(server.address) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        response = stub.ModelInfer(infer_request("affine", {"x": X}), timeout=SECONDS)
        return float(numbers(response)["y"][0, 0])


def _write_slowly(path: Path, data: bytes, stop: threading.Event) -> None:
    """Write a model in place again and again, the worst way to publish one."""
    while not stop.is_set():
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(data), 64):
                file.write(data[start : start + 64])
                time.sleep(0.002)
        time.sleep(0.3)


@pytest.mark.slow
def test_killed_at_any_moment_it_starts_again(tmp_path: Path) -> None:
    """While versions come and go and one file is always half-written, kill -9 at random times; each start serves."""
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    add_plain(tmp_path, "affine", plain_graphs.affine())
    torn = add_plain(tmp_path, "torn", b"")
    chance, stop = random.Random(0), threading.Event()
    writer = threading.Thread(target=_write_slowly, args=(torn, plain_graphs.affine(), stop))
    writer.start()
    try:
        for attempt in range(8):
            with running("--repository", str(tmp_path), "--control-mode", "poll", "--poll-seconds", "0.1") as server:
                if attempt % 4:
                    server.wait_for("models ready")
                    assert _ask(server) == 3
                    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
                time.sleep(chance.uniform(0, 0.8))
                server.end(signal.SIGKILL)
    finally:
        stop.set()
        writer.join()
    with running("--repository", str(tmp_path)) as server:
        server.wait_for(f"{len(scan(tmp_path).versions)} of {len(scan(tmp_path).versions)} models ready")
        assert _ask(server) == 3


@pytest.mark.slow
def test_a_publisher_that_is_killed_leaves_no_half_version(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        from pathlib import Path
        from tests import cards, graphs
        from zoo.repository import publish
        print("go", flush=True)
        while True:
            publish(graphs.text_graph(), cards.text_card(), Path({str(tmp_path)!r}), "moods")
    """)
    chance = random.Random(1)
    for _ in range(4):
        publisher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert publisher.stdout is not None
        publisher.stdout.readline()
        time.sleep(chance.uniform(0.05, 0.3))
        publisher.kill()
        publisher.wait()
        publisher.stdout.close()
    found = scan(tmp_path)
    assert found.versions
    assert not found.problems
    assert all(read_card(version.path) for version in found.versions)
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")


@pytest.mark.slow
def test_sigterm_under_load_loses_no_accepted_request(repository: Path) -> None:
    """Every request is answered, or refused as UNAVAILABLE, which clients try again elsewhere."""
    codes: list[grpc.StatusCode] = []
    with running("--repository", str(repository)) as server:
        server.wait_for("models ready")
        with grpc.insecure_channel(server.address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            callers = [threading.Thread(target=_ask_until_refused, args=(stub, codes)) for _ in range(16)]
            for caller in callers:
                caller.start()
            time.sleep(1)
            assert server.end(signal.SIGTERM) == 0
            for caller in callers:
                caller.join()
        assert "Traceback" not in "".join(server.lines)
    assert codes.count(grpc.StatusCode.OK) > 50
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert codes.count(grpc.StatusCode.UNAVAILABLE) == len(callers)


def _ask_until_refused(stub: grpc_service_pb2_grpc.GRPCInferenceServiceStub, codes: list[grpc.StatusCode]) -> None:
    while True:
        try:
            response = stub.ModelInfer(infer_request("busy", {"rounds": np.array([[20_000]])}), timeout=SECONDS)
            assert numbers(response)["y"] == [[20_000]]
            codes.append(grpc.StatusCode.OK)
        except grpc.RpcError as exc:
            codes.append(exc.code())
            return


def _flip(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 20)):
        damaged[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(damaged)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _hole(data: bytes, chance: random.Random) -> bytes:
    """As of a copy that reserved its room before it wrote."""
    start = chance.randrange(len(data))
    return data[:start] + bytes(len(data) - start)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [_flip, _cut, _hole])
def test_damaged_files_never_stop_the_server(tmp_path: Path, damage: Callable[[bytes, random.Random], bytes]) -> None:
    """40 damaged copies of a model with a card, of a plain one: each is served or refused, and the others serve."""
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    sources = [(tmp_path / "moods/1/model.onnx").read_bytes(), plain_graphs.busy()]
    add_plain(tmp_path, "affine", plain_graphs.affine())
    chance = random.Random(2)
    for number in range(40):
        add_plain(tmp_path, f"damaged-{number}", damage(sources[number % 2], chance))
    with running("--repository", str(tmp_path)) as server:
        server.wait_for(r"\d+ of 42 models ready")
        assert _ask(server) == 3
        assert server.end(signal.SIGTERM) == 0
        assert "This is a bug" not in "".join(server.lines)


def test_a_full_disk_fails_the_publication_and_leaves_what_was_there(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the full disk where nobody may mount a small one: write() fails half-way in both."""
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    size = (tmp_path / "moods/1/model.onnx").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [entry.name for entry in (tmp_path / "moods").iterdir()] == ["1"]
    assert publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods").version == 2


@pytest.mark.slow
def test_a_full_disk_under_a_server(tmp_path: Path) -> None:
    """On a tmpfs of 1 MiB: a publication fails, the server goes on, and takes the next one when there is room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("mounting a small tmpfs needs privileges that this process has not")
    try:
        add_plain(disk, "affine", plain_graphs.affine())
        with running("--repository", str(disk), "--control-mode", "poll", "--poll-seconds", "0.1") as server:
            server.wait_for("1 of 1 models ready")
            ballast = disk / ".ballast"
            with pytest.raises(OSError, match="No space left"):
                ballast.write_bytes(bytes(2**21))
            with pytest.raises((OSError, ZooError)):
                publish(graphs.text_graph(), cards.text_card(), disk, "moods")
            assert _ask(server) == 3
            ballast.unlink()
            publish(graphs.text_graph(), cards.text_card(), disk, "moods")
            server.wait_for("model moods 1: ready")
            assert server.end(signal.SIGTERM) == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_repository_that_is_deleted_while_it_is_served(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    add_plain(repository, "affine", plain_graphs.affine())
    with running("--repository", str(repository), "--control-mode", "poll", "--poll-seconds", "0.1") as server:
        server.wait_for("1 of 1 models ready")
        shutil.rmtree(repository)
        server.wait_for("cannot be read as a model repository")
        time.sleep(0.5)
        assert _ask(server) == 3
        add_plain(repository, "affine", plain_graphs.affine(factor=4))
        server.wait_for("can be read again")
        deadline = time.monotonic() + SECONDS
        while _ask(server) != 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _ask(server) == 5


@pytest.mark.slow
def test_files_of_any_date(repository: Path) -> None:
    """Files from the future or from 1970, as a clock that jumped leaves them, are as good as others."""
    folder = repository / "affine" / "1"
    for when in (0, 2**33):
        os.utime(folder / "model.onnx", (when, when))
        with running("--repository", str(repository), "--control-mode", "poll", "--poll-seconds", "0.1") as server:
            server.wait_for("models ready")
            assert _ask(server) == 3
            with grpc.insecure_channel(server.address) as channel:
                stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
                assert stub.ModelReady(pb.ModelReadyRequest(name="affine"), timeout=SECONDS).ready
