"""The server as a process: its flags, its signals, its exit codes."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2_grpc
from menagerie.v1 import model_pb2, prediction_service_pb2_grpc
from menagerie.v1 import prediction_service_pb2 as prediction
from service.backend.device import choose_device
from tests.service import plain_graphs
from tests.service.calls import infer_request
from tests.service.conftest import add_plain
from tests.service.processes import SECONDS, running


def test_a_server_that_is_still_being_imported_ends_at_once() -> None:
    """It may be process 1 of a container, to which the kernel passes no signal that it has not asked for."""
    words = "import service.__main__, os, signal; os.kill(os.getpid(), signal.SIGTERM); input()"
    ended = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_exit_code_0(repository: Path, number: signal.Signals) -> None:
    with running("--repository", str(repository)) as server:
        server.wait_for(r"11 of 11 models ready in \d+ ms")
        _classify(server.address)
        assert server.end(number) == 0
        text = "".join(server.lines)
        assert f"{number.name}: stopping" in text
        assert "stopped after" in text
        assert "Traceback" not in text


def test_what_is_in_flight_is_finished(repository: Path) -> None:
    with running("--repository", str(repository)) as server:
        server.wait_for("models ready")
        with grpc.insecure_channel(server.address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            rounds = np.array([[1_000_000]], np.int64)
            answer = stub.ModelInfer.future(infer_request("busy", {"rounds": rounds}))
            time.sleep(0.2)
            assert server.end(signal.SIGTERM) == 0
            assert np.frombuffer(answer.result(SECONDS).raw_output_contents[0], np.float32) == [1_000_000]


def test_what_does_not_finish_in_time_is_told_so(repository: Path) -> None:
    with running("--repository", str(repository), "--drain-seconds", "0.2") as server:
        server.wait_for("models ready")
        with grpc.insecure_channel(server.address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            rounds = np.array([[2_000_000_000]], np.int64)
            answer = stub.ModelInfer.future(infer_request("busy", {"rounds": rounds}))
            time.sleep(0.2)
            start = time.monotonic()
            assert server.end(signal.SIGTERM) == 0
            assert time.monotonic() - start < 10
            assert answer.code() is grpc.StatusCode.UNAVAILABLE


def test_a_signal_while_models_are_loading(tmp_path: Path) -> None:
    for number in range(20):
        add_plain(tmp_path, f"affine-{number}", plain_graphs.affine())
    with running("--repository", str(tmp_path)) as server:
        server.wait_for("serving gRPC")
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(server.lines)


def test_settings_come_from_the_environment_too(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENAGERIE_REPOSITORY", f"{repository}")
    monkeypatch.setenv("MENAGERIE_LOG_LEVEL", "warning")
    with running("--log-level", "info") as server:
        server.wait_for("11 of 11 models ready")
        assert server.end(signal.SIGTERM) == 0


def _refused(*flags: str) -> str:
    """The one line with which the server refuses to start."""
    command = [sys.executable, "-m", "service", "--port", "0", "--metrics-port", "0", *flags]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line.removeprefix("menagerie-serve: ")


def test_a_port_in_use(repository: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = _refused("--repository", str(repository), "--port", port)
        assert line.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")
        assert "choose another --port" in line
        line = _refused("--repository", str(repository), "--metrics-port", port)
        assert f"cannot serve metrics on 127.0.0.1:{port}" in line
        assert "--metrics-port" in line


def _classify(address: str) -> None:
    """Ask over a connection of its own."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = prediction.ClassifyTextsRequest(model=model_pb2.ModelRef(name="moods"), texts=["good"])
        assert stub.ClassifyTexts(request).results


def _answered(metrics_url: str) -> float:
    """How many texts a server has classified."""
    with urllib.request.urlopen(metrics_url) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match("menagerie_requests_total.*ClassifyTexts", line))


def test_servers_on_one_port(repository: Path) -> None:
    flags = ("--repository", str(repository), "--shared-port")
    with running(*flags) as first:
        host, _, port = first.address.rpartition(":")
        assert "Address already in use" in _refused("--repository", str(repository), "--port", port)
        with running(*flags, "--port", port) as second:
            second.wait_for("models ready")
            metrics = [server.wait_for(r"metrics on (\S+)")[1] for server in (first, second)]
            while not all(_answered(url) for url in metrics):  # the system chooses by the address of the caller
                _classify(f"{host}:{port}")
            assert first.end(signal.SIGTERM) == 0
            before = _answered(metrics[1])
            for _ in range(4):
                _classify(f"{host}:{port}")
            assert _answered(metrics[1]) == before + 4


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'} cannot be read" in _refused("--repository", str(tmp_path / "nowhere"))


def test_bad_flags() -> None:
    assert "--prot" in _refused("--prot", "1")
    assert "--max-batch-size '0'" in _refused("--max-batch-size", "0")


def test_cuda_where_there_is_none() -> None:
    if choose_device("auto").name != "cpu":
        pytest.skip("this machine has a CUDA device")
    line = _refused("--device", "cuda")
    assert "--device cuda: no CUDA device here" in line
    assert "cpu" in line


def test_help_explains_every_flag() -> None:
    done = subprocess.run([sys.executable, "-m", "service", "--help"], capture_output=True, text=True, check=True)
    for flag in (
        "--repository",
        "--host",
        "--port",
        "--metrics-port",
        "--device",
        "--max-batch-size",
        "--drain-seconds",
    ):
        assert flag in done.stdout
    assert "MENAGERIE_MAX_BATCH_SIZE" in done.stdout


def test_the_server_imports_no_training(repository: Path) -> None:
    code = (
        "import sys, service.server; "
        "print([name for name in ('torch', 'onnx', 'pandas', 'training') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
