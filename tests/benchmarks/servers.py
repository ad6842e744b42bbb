"""Menagerie servers to measure: as processes of their own, as operators run them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import usage
from tests.benchmarks.cells import Running
from tests.benchmarks.checking import Client
from tests.benchmarks.questions import golden_questions
from tests.service.processes import running
from zoo import BUNDLED
from zoo.package import read_card
from zoo.repository import scan

BATCH_ROWS = 8
"""What every model runs as one batch, be it as slow as it may."""


@contextmanager
def menagerie(repository: Path, flags: Sequence[str] = ()) -> Iterator[Running]:
    """A server whose models are ready."""
    with running("--repository", str(repository), *flags) as server:
        try:
            address = server.wait_for(r"serving gRPC on (\S+), metrics on (\S+)")
            server.wait_for("models ready")
        except AssertionError as exc:
            sys.exit(f"the server does not start with {' '.join(flags) or 'its own settings'}: {str(exc).strip()}")
        yield Running("menagerie", address[1], server.process.pid, address[2])


@dataclass(frozen=True)
class Start:
    """What a server takes before the first request."""

    seconds: float
    """From the command to readiness, the median of several starts."""
    memory: usage.Memory
    """When it is ready."""
    bare: usage.Memory
    """Of a bare process with the same sessions, touched by one run."""
    memory_after_batches: usage.Memory
    """When each model has answered a batch of `BATCH_ROWS` rows."""
    bare_after_batches: usage.Memory
    """Of the bare process, after the same."""


def measure_start(repository: Path = BUNDLED, flags: Sequence[str] = (), starts: int = 3) -> Start:
    """Start a server on a repository some times."""
    seconds = []
    ready = after = usage.Memory(float("nan"), float("nan"))
    for _ in range(starts):
        with running("--repository", str(repository), *flags) as server:
            server.wait_for("models ready")
            seconds.append(time.monotonic() - server.start)
            ready = usage.memory(server.process.pid)
            _ask_batches(server.address, repository)
            after = usage.memory(server.process.pid)
    bare, bare_after = _bare_memory(repository)
    return Start(statistics.median(seconds), ready, bare, after, bare_after)


def _ask_batches(address: str, repository: Path) -> None:
    with closing(Client(address)) as client:
        for version in scan(repository).versions:
            card = read_card(version.path)
            questions = golden_questions(version.name, card, BATCH_ROWS) if card and card.golden.samples else []
            for question in questions[:1]:
                if wrong := client.judge(question).wrong:
                    raise RuntimeError(f"{version.name}: {wrong}")


def _bare_memory(repository: Path) -> tuple[usage.Memory, usage.Memory]:
    """Of a process that holds the sessions of all models in a repository as a server opens them, and nothing else; and
    after batches."""
    files = [str(version.path) for version in scan(repository).versions]
    command = [sys.executable, "-m", "tests.benchmarks.bare_process", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:

        def wait() -> usage.Memory:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("the bare process ended; what it wrote to standard error says why")
            return usage.memory(process.pid)

        bare = wait()
        assert process.stdin is not None
        print(BATCH_ROWS, file=process.stdin, flush=True)
        return bare, wait()
