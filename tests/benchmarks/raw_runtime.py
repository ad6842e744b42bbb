"""The floor of the engine: ONNX Runtime alone, without a server, at its best batch and threads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime

from service.backend.contract import Tensors


@dataclass(frozen=True)
class Configuration:
    """How the engine is used."""

    batch: int
    threads: int
    """Of one run."""
    runs: int
    """At a time, on one session."""

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.runs} x {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Speed:
    """What a configuration brings."""

    configuration: Configuration
    items_per_second: float
    p50_ms: float
    """Of one run."""
    cpu_ms_per_item: float
    """Processor time of all threads."""


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def configurations(batches: Sequence[int]) -> list[Configuration]:
    """What is searched: one run on all cores, a run on each core, and one run on one core, which has the core's caches
    and memory for itself."""
    ways = sorted({(cores(), 1), (1, cores()), (1, 1)})
    return [Configuration(batch, threads, runs) for batch in batches for threads, runs in ways]


def measure(file: Path, inputs: Tensors, asked: Sequence[Configuration], seconds: float) -> list[Speed]:
    """Try configurations, each for so many seconds, at least two runs.

    Args:
        file: of the model.
        inputs: some rows, repeated where a batch is larger.
        asked: to be tried, in a process of their own.
        seconds: for each.
    """
    with _process() as pool:
        return pool.submit(_measure, file, inputs, asked, seconds).result()


def answers(file: Path, inputs: Tensors) -> Tensors:
    """What the engine gives, row by row: no neighbour has a part in it."""
    with _process() as pool:
        return pool.submit(_answers, file, inputs).result()


def _process() -> ProcessPoolExecutor:
    """Another process, which leaves Ctrl-C to this one."""
    quiet = (signal.SIGINT, signal.SIG_IGN)
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=signal.signal, initargs=quiet)


def _answers(file: Path, inputs: Tensors) -> Tensors:
    session = _open(file, cores())
    names = [output.name for output in session.get_outputs()]
    rows = len(next(iter(inputs.values())))
    each = [session.run(names, {key: value[row : row + 1] for key, value in inputs.items()}) for row in range(rows)]
    return {name: np.concatenate([outputs[place] for outputs in each]) for place, name in enumerate(names)}


def _measure(file: Path, inputs: Tensors, asked: Sequence[Configuration], seconds: float) -> list[Speed]:
    return list(_speeds(file, inputs, asked, seconds))


def _speeds(file: Path, inputs: Tensors, asked: Sequence[Configuration], seconds: float) -> Iterator[Speed]:
    sessions: dict[int, onnxruntime.InferenceSession] = {}
    for configuration in asked:
        threads = configuration.threads
        session = sessions.setdefault(threads, sessions.get(threads) or _open(file, threads))
        batch = {name: np.resize(value, (configuration.batch, *value.shape[1:])) for name, value in inputs.items()}
        session.run(None, batch)
        yield _speed(session, batch, configuration, seconds)


def _speed(
    session: onnxruntime.InferenceSession, batch: Tensors, configuration: Configuration, seconds: float
) -> Speed:
    times: list[list[float]] = [[] for _ in range(configuration.runs)]
    start, cpu = time.perf_counter(), time.process_time()

    def work(own: list[float]) -> None:
        previous = time.perf_counter()
        while previous - start < seconds or len(own) < 2:
            session.run(None, batch)
            now = time.perf_counter()
            own.append(now - previous)
            previous = now

    workers = [threading.Thread(target=work, args=(own,)) for own in times[1:]]
    for worker in workers:
        worker.start()
    work(times[0])
    for worker in workers:
        worker.join()
    cpu = (time.process_time() - cpu) / (sum(map(len, times)) * configuration.batch)
    # Each worker's own rate: they do not end at the same moment.
    rate = sum(len(own) / sum(own) for own in times)
    return Speed(configuration, rate * configuration.batch, 1e3 * float(np.median(np.concatenate(times))), 1e3 * cpu)


def _open(file: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
