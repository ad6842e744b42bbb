"""Callers in processes of their own: they ask one model in closed loops, and check every answer.

`python -m tests.gpu.callers` reads a `Task` as a line of JSON, says that it is ready, waits for a line more so that all
begin at once, and writes an `Outcome` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import numpy as np

from inference import grpc_service_pb2 as pb
from inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from menagerie.v1 import model_pb2, prediction_service_pb2, prediction_service_pb2_grpc
from tests.benchmarks.usage import loop_seconds
from tests.service.processes import Process

CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel
]
CONNECTIONS = 8
"""Of one process, at most: servers on one port share connections, not requests."""
WARM_UP = 0.2
"""Part of the time that comes before the clock starts."""


@dataclass(frozen=True)
class Task:
    """What to ask."""

    address: str
    model: str
    callers: int
    """Requests in flight, of one process."""
    seconds: float
    questions: str
    """A .npz: `rows`, uint8 [Q, N, H, W, 3], a request each; or `files`, encoded images, a request each. Beside them
    `expected`, the probabilities [Q, N, K] or [Q, K]."""
    tolerance: float
    """Of a probability."""


@dataclass(frozen=True)
class Outcome:
    """What came back."""

    answers: int
    wrong: int
    errors: int
    seconds: float
    latencies: list[float]
    """Seconds, one for each answer."""
    loop: float = 0.0
    """How much of a core a server's event loop took meanwhile, the mean of all servers."""

    @property
    def good(self) -> bool:
        """Whether there are answers, and all are right."""
        return self.answers > 0 and not self.wrong and not self.errors

    def percentile(self, percent: float) -> float:
        """Milliseconds that so many of a hundred answers took at most."""
        return 1e3 * float(np.percentile(self.latencies, percent)) if self.latencies else float("nan")


def ask_servers(servers: Sequence[Process], task: Task, processes: int) -> Outcome:
    """Ask from several processes, and see how busy the servers' event loops are: each has one core at most."""
    before = _loop_seconds(servers)
    outcome = ask_from_processes(task, processes)
    took = _loop_seconds(servers) - before
    return replace(outcome, loop=took / len(servers) / (task.seconds * (1 + WARM_UP)))


def _loop_seconds(servers: Sequence[Process]) -> float:
    return sum(loop_seconds(server.process.pid) for server in servers)


def ask_from_processes(task: Task, processes: int) -> Outcome:
    """Share the callers among processes, so that none of them is what is measured."""
    processes = min(processes, task.callers)
    shares = [task.callers // processes + (number < task.callers % processes) for number in range(processes)]
    running = [_start(replace(task, callers=share)) for share in shares]
    for process in running:
        _read_line(process)
    for process in running:
        _write_line(process, "go")
    outcomes = [Outcome(**json.loads(_read_line(process))) for process in running]
    for process in running:
        process.communicate()
    return Outcome(
        answers=sum(outcome.answers for outcome in outcomes),
        wrong=sum(outcome.wrong for outcome in outcomes),
        errors=sum(outcome.errors for outcome in outcomes),
        seconds=float(np.mean([outcome.seconds for outcome in outcomes])),
        latencies=[latency for outcome in outcomes for latency in outcome.latencies],
    )


def _start(task: Task) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.gpu.callers"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _write_line(process, json.dumps(asdict(task)))
    return process


def _write_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if line := process.stdout.readline():
        return line
    raise RuntimeError(f"a process of callers ended, exit code {process.wait()}; see its error above")


async def ask(task: Task, begin_now: Callable[[], object]) -> Outcome:
    """Ask from this process until the time is over."""
    with np.load(Path(task.questions)) as data:
        expected = data["expected"]
        questions = list(data["rows"]) if "rows" in data else [bytes(file) for file in data["files"]]
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(task.address, options=CHANNEL))
            for _ in range(min(task.callers, CONNECTIONS))
        ]
        kind = _Tensors if expected.ndim == 3 else _Images
        askers = [kind(channel, task.model, questions) for channel in channels]
        begin_now()
        begin = perf_counter() + WARM_UP * task.seconds
        end = begin + task.seconds
        latencies: list[float] = []
        counts = {"wrong": 0, "errors": 0}

        async def caller(number: int) -> None:
            asker = askers[number % len(askers)]
            while (start := perf_counter()) < end:
                number = (number + 1) % len(questions)
                try:
                    got = await asker.ask(number)
                except grpc.aio.AioRpcError:
                    counts["errors"] += 1
                    await asyncio.sleep(0.01)
                    continue
                counts["wrong"] += not asker.right(got, expected[number], task.tolerance)
                if start >= begin:
                    latencies.append(perf_counter() - start)

        await asyncio.gather(*(caller(number) for number in range(task.callers)))
        return Outcome(len(latencies), **counts, seconds=perf_counter() - begin, latencies=latencies)


class _Tensors:
    """ModelInfer with raw uint8 tensors."""

    def __init__(self, channel: grpc.aio.Channel, model: str, questions: list[np.ndarray]) -> None:
        self._stub = GRPCInferenceServiceStub(channel)
        self._requests = []
        for rows in questions:
            request = pb.ModelInferRequest(model_name=model, raw_input_contents=[rows.tobytes()])
            request.inputs.add(name="image", datatype="UINT8", shape=rows.shape)
            request.outputs.add(name="probabilities")
            self._requests.append(request)

    async def ask(self, number: int) -> Any:
        response = await self._stub.ModelInfer(self._requests[number])
        return np.frombuffer(response.raw_output_contents[0], np.float32)

    def right(self, got: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
        return got.size == expected.size and bool(np.abs(got - expected.ravel()).max() <= tolerance)


class _Images:
    """ClassifyImages with one encoded image."""

    def __init__(self, channel: grpc.aio.Channel, model: str, questions: list[bytes]) -> None:
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        reference = model_pb2.ModelRef(name=model)
        self._requests = [
            prediction_service_pb2.ClassifyImagesRequest(model=reference, images=[file], top_k=5) for file in questions
        ]

    async def ask(self, number: int) -> Any:
        response = await self._stub.ClassifyImages(self._requests[number])
        return response.results[0].classes

    def right(self, got: Any, expected: np.ndarray, tolerance: float) -> bool:
        return all(abs(score.probability - expected[score.index]) <= tolerance for score in got)


def main() -> None:
    """Be one process of callers."""
    task = Task(**json.loads(sys.stdin.readline()))

    def wait() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    print(json.dumps(asdict(asyncio.run(ask(task, wait)))), flush=True)


if __name__ == "__main__":
    main()
