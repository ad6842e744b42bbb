"""Another server: its environment, its process, and how it wants to be asked."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.cells import Running
from tests.benchmarks.checking import Client
from tests.benchmarks.models import BUILD
from tests.benchmarks.questions import Question
from tests.benchmarks.workloads import Workload

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
START_SECONDS = 120.0
Ask = Callable[[Workload, int, int], Question]


class PeerError(Exception):
    """The server cannot be measured; the text says why."""


@dataclass(frozen=True)
class Peer:
    """One of them."""

    name: str
    package: str
    """In the package index."""
    ask: Ask
    """A question about a workload: of so many items, from this row on."""
    requirements: tuple[str, ...] = ()
    """Besides the package and ONNX Runtime."""
    needs: str = ""
    """A command that has to be there."""
    port: int = 0
    """Which of the five that it gets is asked."""
    warm_up_seconds: float = 0.0
    """Of load before anything is measured: what is compiled while it runs is slow at first."""
    small_workers: int | None = None
    """Workers for models whose runs are shorter than the way to a worker; None: as many as cores, as for the others."""

    @property
    def adapter(self) -> Path:
        """What starts it."""
        return HERE / f"serve_with_{self.name}.py"

    @property
    def environment(self) -> Path:
        """Its virtual environment."""
        return BUILD / "peers" / self.name


def install(peer: Peer, base: str) -> str:
    """Make the environment of a peer with a Python, where it is not there yet; its version.

    Raises:
        PeerError: it cannot be installed.
    """
    if peer.needs and not shutil.which(peer.needs):
        raise PeerError(f"{peer.name} needs {peer.needs}, which is not installed")
    python = peer.environment / "bin" / "python"
    wanted = [peer.package, f"onnxruntime=={version('onnxruntime-gpu')}", *peer.requirements]
    stamp = peer.environment / f".installed-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:12]}"
    if not stamp.is_file():
        print(f"installing {peer.name} into {peer.environment} ...", file=sys.stderr)
        _run([base, "-m", "venv", "--clear", str(peer.environment)], peer)
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], peer)
        stamp.touch()
    name = peer.package.partition("[")[0]
    return _run([str(python), "-c", f"from importlib.metadata import version; print(version('{name}'))"], peer).strip()


def _run(command: list[str], peer: Peer) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr[-300:]]
        raise PeerError(f"{peer.name} cannot be installed: {lines[0]}")
    return done.stdout


@contextmanager
def running(peer: Peer, workload: Workload, workers: int) -> Iterator[Running]:
    """The server with one model, ready.

    Raises:
        PeerError: it does not start.
    """
    port = _free_ports()
    log = BUILD / "peers" / f"{peer.name}-{workload.name}.log"
    python = peer.environment / "bin" / "python"
    command = [str(python), str(peer.adapter), str(workload.file), workload.model, str(port), str(workers)]
    path = os.pathsep.join([str(HERE), str(ROOT / "protos")])
    environment = {**os.environ, "PYTHONPATH": path, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, cwd=BUILD / "peers", start_new_session=True
        )
        try:
            server = Running(peer.name, f"127.0.0.1:{port + peer.port}", process.pid)
            _wait(process, server.address, peer.ask(workload, 1, 0), log)
            yield server
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], address: str, question: Question, log: Path) -> None:
    """Until it gives a right answer: many listen before they can."""
    give_up, wrong = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < give_up and process.poll() is None:
        with closing(Client(address)) as client:
            if not (wrong := client.judge(question).wrong):
                return
        time.sleep(0.2)
    lines = log.read_text().strip().splitlines() or ["it writes nothing"]
    raise PeerError(f"it gives no right answer: {wrong if process.poll() is None else lines[-1][-200:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and all that it started, which are in a session of its own."""
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _free_ports() -> int:
    """The first of five in a row that are free, below those that the system gives to clients."""
    return next(port for port in range(20_000, 30_000, 5) if all(_is_free(port + more) for more in range(5)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True
