"""Closed loops with h2load, the load generator of nghttp2: callers that ask again as soon as they have their answer.

It is written in C and takes little of the cores that it shares with the server. Of gRPC it knows nothing: a message is
sent with its frame of five bytes, and whether the answers are right is found out by others (`checking`).
"""

from __future__ import annotations

import math
import re
import resource
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.questions import Question

_GRPC_HEADERS = {"content-type": "application/grpc", "te": "trailers"}
_FIRST_SECONDS = 0.3
"""A first run at least this long says how many requests fill the time."""
_PATIENCE_SECONDS = 120.0


class LoadError(Exception):
    """The load could not be made; the text says why."""


@dataclass(frozen=True)
class Result:
    """A closed loop."""

    requests: int
    """That were answered; by HTTP, that is."""
    failed: int
    """That were not."""
    seconds: float
    """From the first request to the last answer."""
    latencies_ms: NDArray[np.float64]
    answer_bytes: float
    """Mean size of an answer, frames included: an error of gRPC has none."""
    client_cpu_seconds: float
    """That h2load took."""

    @property
    def per_second(self) -> float:
        """Answers."""
        return self.requests / self.seconds

    def percentile(self, percent: float) -> float:
        """Of the latencies, in milliseconds."""
        return float(np.percentile(self.latencies_ms, percent))


def version() -> str:
    """Of h2load, or why there is none.

    Raises:
        LoadError: it is not installed.
    """
    if not shutil.which("h2load"):
        raise LoadError("h2load is not installed; on Debian and Ubuntu: apt-get install nghttp2-client")
    return subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


def warm_up(address: str, question: Question, callers: int, seconds: float, *, connections: int = 0) -> int:
    """Ask for some time, and tell how many requests will take about so many seconds: whole rounds of all callers.

    Raises:
        LoadError: h2load is missing, failed, or got no answer.
    """
    rounds, enough = 1, min(_FIRST_SECONDS, seconds / 2)
    while (result := run(address, question, callers, rounds * callers, connections=connections)).seconds < enough:
        rounds = max(math.ceil(1.2 * rounds * enough / result.seconds), 2 * rounds)
    return callers * max(round(rounds * seconds / result.seconds), 1)


def run(address: str, question: Question, callers: int, requests: int, *, connections: int = 0) -> Result:
    """Ask until all requests are answered.

    The number of requests is set, not the time: of a slow model many requests would be cut off in their middle.

    Args:
        address: HOST:PORT.
        question: what every caller asks.
        callers: requests under way at a time.
        requests: in total.
        connections: that the callers share; 0: one for each.

    Raises:
        LoadError: h2load is missing, failed, or got no answer.
    """
    version()
    connections = min(connections or callers, callers)
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(framed(question))
        command = ["h2load", f"--requests={requests}", f"--clients={connections}", "--threads=1"]
        command += [f"--max-concurrent-streams={math.ceil(callers / connections)}", f"--data={body}"]
        command += [f"--log-file={log}", *(["--h1"] if question.http == "1.1" else [])]
        headers = question.headers if question.http else _GRPC_HEADERS
        command += [f"--header={name}: {value}" for name, value in headers.items()]
        before = _children_seconds()
        try:
            done = subprocess.run(
                [*command, f"http://{address}{question.path}"],
                capture_output=True,
                text=True,
                timeout=_PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired as exc:
            raise LoadError(f"{requests} requests were not answered within {_PATIENCE_SECONDS:g} s") from exc
        cpu = _children_seconds() - before
        if done.returncode or not log.is_file():
            raise LoadError(f"h2load failed: {(done.stderr or done.stdout).strip()[-300:]}")
        return _read(log, done.stdout, requests, cpu)


def framed(question: Question) -> bytes:
    """The body of the request: of gRPC a byte for "not compressed", the length, and the message."""
    prefix = b"" if question.http else b"\0" + struct.pack(">I", len(question.message))
    return prefix + question.message


def _read(log: Path, printed: str, requests: int, cpu: float) -> Result:
    """The log has a line for each request: its start in microseconds, the status, its time in microseconds."""
    rows = np.loadtxt(log, dtype=np.int64, ndmin=2)
    good = rows[rows[:, 1] == 200] if len(rows) else rows
    if not len(good):
        statuses = re.search(r"status codes:.*", printed)
        raise LoadError(f"none of {requests} requests was answered; {statuses[0] if statuses else printed[-300:]}")
    seconds = float((good[:, 0] + good[:, 2]).max() - good[:, 0].min()) / 1e6
    data = re.search(r"\((\d+)\) data", printed)
    return Result(
        requests=len(good),
        failed=requests - len(good),
        seconds=max(seconds, 1e-6),
        latencies_ms=good[:, 2] / 1e3,
        answer_bytes=int(data[1]) / len(good) if data else math.nan,
        client_cpu_seconds=cpu,
    )


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
