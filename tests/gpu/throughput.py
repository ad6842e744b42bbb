"""Requests through gRPC, answers checked: tensors of 32 images, single JPEG files; how many and how late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from service.cpus import available_cpus
from tests.benchmarks import models
from tests.benchmarks.inputs import photographs
from tests.gpu.bench import Bench
from tests.gpu.callers import Outcome, Task, ask_servers
from tests.gpu.floors import EAGER, RAW, ROWS, UNIT
from tests.gpu.models import HALF, MAIN, model_file
from tests.gpu.questions import make_questions
from tests.service.processes import Process, running
from zoo import BUNDLED
from zoo.card import ImageTask, Resize
from zoo.image import prepare_image
from zoo.package import read_card
from zoo.repository import MODEL_FILE

TENSOR_CALLERS = (1, 8)
JPEG_CALLERS = (1, 64)
CEILING_CALLERS = 16
PIXEL = "pixel"
DECODED, NOTHING, ONE_JPEG = "JPEG decoded and resized", "nothing to compute", "one JPEG a request"
TO_REACH = 0.85
"""Of raw ONNX Runtime, with requests of 32 images."""
NEAR = 0.7
"""Of a limit, as noise goes."""
TO_BEAT = 1.5
"""Times torch eager."""
_LOADED = r"(\d+) of (\d+) models ready"


def measure_server(bench: Bench) -> None:
    """The main network in both precisions, with one run at a time and with two, and by several servers on a port."""
    for half in (False, True):
        questions = make_questions(bench, model_file(bench, MAIN, half=half))
        end = "fp16" if half else "float32"
        for instances in (1, 2):
            with serving(bench, "--instances", str(instances)) as servers:
                for callers in TENSOR_CALLERS:
                    outcome = _ask(bench, servers, questions["tensors"], half, callers)
                    what = f"served, {ROWS} images a request, {callers} callers, {instances} instances, {end}"
                    _add(bench, what, outcome, ROWS, RAW[half])
        for count in (1, _many()):
            with serving(bench, "--instances", "2", count=count) as servers:
                for callers in JPEG_CALLERS:
                    outcome = _ask(bench, servers, questions["files"], half, callers)
                    _add(bench, f"served, {ONE_JPEG}, {callers} callers, {count} servers, {end}", outcome, 1, "")
    _judge(bench)


def measure_decoding(bench: Bench) -> None:
    """How many photographs the cores of this machine decode and resize, with nothing else to do."""
    card = read_card(BUNDLED / "flowers" / "1" / MODEL_FILE)
    assert card is not None
    assert isinstance(card.task, ImageTask)
    cores = available_cpus()
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        rates = pool.map(_decode, [card.task.resize] * cores, [bench.seconds] * cores)
    bench.report.add(DECODED, sum(rates), UNIT, note=f"by {cores} cores, a process each")


def _decode(resize: Resize, seconds: float) -> float:
    """Photographs a second that this process decodes and resizes."""
    files, start, count = photographs(16), perf_counter(), 0
    while perf_counter() - start < seconds:
        prepare_image(files[count % len(files)], resize)
        count += 1
    return count / (perf_counter() - start)


def measure_without_gpu(bench: Bench) -> None:
    """The callers against a server on the CPU, with a bundled model: that this part of the script works."""
    name = "flowers"
    file = BUNDLED / name / "1" / MODEL_FILE
    questions = make_questions(bench, file, jpegs=4)
    with running("--repository", str(BUNDLED)) as server:
        server.wait_for(_LOADED)
        for kind, path in questions.items():
            task = Task(server.address, name, 2, max(bench.seconds, 2.0), str(path), 0.05)
            outcome = ask_servers([server], task, 2)
            rate = outcome.answers / outcome.seconds
            bench.report.check(f"served on the CPU, {kind}", outcome.good, rate, "requests/s")


def measure_ceiling(bench: Bench) -> None:
    """The server alone, with a model that looks at one pixel of a picture, on the CPU: no GPU brings more than that."""
    folder = bench.folder / PIXEL
    questions = make_questions(bench, models.prepare([PIXEL], folder) / PIXEL / "1" / MODEL_FILE)
    for count in (1, _many()):
        with _running(count, "--repository", str(next(folder.iterdir()))) as servers:
            for kind, rows, what in ("tensors", ROWS, f"{ROWS} images a request"), ("files", 1, ONE_JPEG):
                task = Task(servers[0].address, PIXEL, CEILING_CALLERS, bench.seconds, str(questions[kind]), 1e-3)
                outcome = ask_servers(servers, task, _processes())
                _add(bench, f"{NOTHING}, {what}, {count} servers", outcome, rows, "")


@contextmanager
def serving(bench: Bench, *flags: str, count: int = 1) -> Iterator[list[Process]]:
    """Servers on the GPU with the main models."""
    folder = bench.folder / "served"
    for half in (False, True):
        source = model_file(bench, MAIN, half=half)
        target = folder / source.relative_to(bench.models)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(source, target)
    with _running(count, "--device", bench.device or "cpu", "--repository", str(folder), *flags) as servers:
        yield servers


@contextmanager
def _running(count: int, *flags: str) -> Iterator[list[Process]]:
    """Servers on one port, which share the cores."""
    cores = str(max(available_cpus() // count, 1))
    flags = (*flags, "--shared-port", "--decode-threads", cores, "--compute-threads", cores)
    with ExitStack() as stack:
        servers = [stack.enter_context(running(*flags))]
        port = servers[0].address.rpartition(":")[2]
        servers += [stack.enter_context(running(*flags, "--port", port)) for _ in range(count - 1)]
        for server in servers:
            loaded = server.wait_for(_LOADED)
            assert loaded[1] == loaded[2], "".join(server.lines)
        yield servers


def _many() -> int:
    """Servers that have four cores each; of few cores two do, so that it is tried."""
    return max(available_cpus() // 4, 2)


def _processes() -> int:
    return max(2, min(6, available_cpus() // 3))


def _ask(bench: Bench, servers: list[Process], questions: Path, half: bool, callers: int) -> Outcome:
    name = MAIN + (HALF if half else "")
    task = Task(servers[0].address, name, callers, bench.seconds, str(questions), 2e-2 if half else 2e-3)
    return ask_servers(servers, task, _processes())


def _add(bench: Bench, what: str, outcome: Outcome, rows: int, against: str) -> None:
    rate = rows * outcome.answers / outcome.seconds
    note = f"p50 {outcome.percentile(50):.1f} ms, p99 {outcome.percentile(99):.1f} ms, {_loop(outcome)}"
    if outcome.good:
        bench.report.compare(what, rate, UNIT, against, note=note)
    else:
        note += f"; {outcome.wrong} wrong, {outcome.errors} errors"
        bench.report.add(what, rate, UNIT, verdict="failed", note=note)


def _loop(outcome: Outcome) -> str:
    return f"event loop {outcome.loop:.2f} of a core"


def _judge(bench: Bench) -> None:
    """The goals, by the best of the rows."""
    report = bench.report
    tensors = {half: _best(bench, f"served, {ROWS} images", end) for half, end in ((False, "float32"), (True, "fp16"))}
    for half, end in ((False, "float32"), (True, "fp16")):
        if floor := report.value(RAW[half]):
            ratio = tensors[half] / floor
            note = f"{TO_REACH} to reach"
            report.check(f"goal: {ROWS}-image requests, {end}", ratio >= TO_REACH, ratio, "of raw", note)
    if eager := report.value(EAGER):
        ratio = tensors[True] / eager
        report.check("goal: ahead of torch eager, fp16", ratio >= TO_BEAT, ratio, "times", f"{TO_BEAT} to reach")
    decoded, served = report.value(DECODED), _best(bench, f"served, {ONE_JPEG}", "fp16")
    if ceiling := _best(bench, f"{NOTHING}, {ONE_JPEG}", "servers"):
        limit = "the cores that decode" if ceiling > NEAR * (decoded or 0) else "what the servers take beside"
        if served < NEAR * ceiling:
            limit = "none of these"
        note = f"of {decoded or 0:,.0f} that the cores decode, {ceiling:,.0f} without a network; the limit is {limit}"
        report.add("single JPEG requests", served, UNIT, note=note)


def _best(bench: Bench, start: str, end: str) -> float:
    rows = [row.value or 0.0 for row in bench.report.rows if row.what.startswith(start) and row.what.endswith(end)]
    return max(rows, default=0.0)
