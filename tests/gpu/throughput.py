"""Requests through gRPC, answers checked: tensors of 32 images, single JPEG files; how many and how late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np

from service.cpus import available_cpus
from tests.benchmarks.inputs import photographs
from tests.gpu.bench import Bench
from tests.gpu.callers import Outcome, Task, ask_from_processes
from tests.gpu.floors import EAGER, RAW, ROWS, UNIT
from tests.gpu.models import HALF, MAIN, model_file, pictures
from tests.service.processes import Process, running
from zoo import BUNDLED
from zoo.card import IMAGE_INPUT, PROBABILITIES, Card, ImageTask
from zoo.golden import Run
from zoo.image import prepare_image
from zoo.package import read_card
from zoo.repository import MODEL_FILE
from zoo.runtime import make_run, open_session

TENSOR_CALLERS = (1, 8)
JPEG_CALLERS = (1, 64)
TO_REACH = 0.85
"""Of raw ONNX Runtime, with requests of 32 images."""
TO_BEAT = 1.5
"""Times torch eager."""
JPEGS = 64
_LOADED = r"(\d+) of (\d+) models ready"


def measure_server(bench: Bench) -> None:
    """The main network in both precisions, with one run at a time and with two."""
    processes = max(2, min(6, available_cpus() // 3))
    for half in (False, True):
        questions = _questions(bench, model_file(bench, MAIN, half=half))
        end = "fp16" if half else "float32"
        for instances in (1, 2):
            with serving(bench, "--instances", str(instances)) as server:
                for callers in TENSOR_CALLERS:
                    task = _task(bench, server, questions["tensors"], half, callers)
                    outcome = ask_from_processes(task, processes)
                    what = f"served, {ROWS} images a request, {callers} callers, {instances} instances, {end}"
                    _add(bench, what, outcome, ROWS, RAW[half])
                if instances == 1:
                    continue
                for callers in JPEG_CALLERS:
                    task = _task(bench, server, questions["files"], half, callers)
                    outcome = ask_from_processes(task, processes)
                    _add(bench, f"served, one JPEG a request, {callers} callers, {end}", outcome, 1, "")
    _judge(bench)


def measure_decoding(bench: Bench) -> None:
    """How many photographs the cores of this machine decode and resize, with nothing else to do."""
    card = read_card(BUNDLED / "flowers" / "1" / MODEL_FILE)
    assert card is not None
    assert isinstance(card.task, ImageTask)
    files, resize, cores = photographs(16), card.task.resize, available_cpus()
    with ThreadPoolExecutor(cores) as pool:
        start, count = perf_counter(), 0
        while perf_counter() - start < bench.seconds:
            count += len(list(pool.map(lambda file: prepare_image(file, resize), files)))
    bench.report.add(f"JPEG decoded and resized by {cores} cores", count / (perf_counter() - start), UNIT)


def measure_without_gpu(bench: Bench) -> None:
    """The callers against a server on the CPU, with a bundled model: that this part of the script works."""
    name = "flowers"
    file = BUNDLED / name / "1" / MODEL_FILE
    questions = _questions(bench, file, jpegs=4)
    with running("--repository", str(BUNDLED)) as server:
        server.wait_for(_LOADED)
        for kind, path in questions.items():
            task = Task(server.address, name, 2, max(bench.seconds, 2.0), str(path), 0.05)
            outcome = ask_from_processes(task, 2)
            good = outcome.answers > 0 and not outcome.wrong and not outcome.errors
            bench.report.check(f"served on the CPU, {kind}", good, outcome.answers / outcome.seconds, "requests/s")


@contextmanager
def serving(bench: Bench, *flags: str) -> Iterator[Process]:
    """A server on the GPU with the main models."""
    folder = bench.folder / "served"
    for half in (False, True):
        source = model_file(bench, MAIN, half=half)
        target = folder / source.relative_to(bench.models)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(source, target)
    with running("--device", bench.device or "cpu", "--repository", str(folder), *flags) as server:
        loaded = server.wait_for(_LOADED)
        assert loaded[1] == loaded[2], "".join(server.lines)
        yield server


def _task(bench: Bench, server: Process, questions: Path, half: bool, callers: int) -> Task:
    name = MAIN + (HALF if half else "")
    return Task(server.address, name, callers, bench.seconds, str(questions), 2e-2 if half else 2e-3)


def _questions(bench: Bench, model: Path, jpegs: int = JPEGS) -> dict[str, Path]:
    """Requests with what a CPU answers to them, as files that the callers read."""
    card = read_card(model)
    assert card is not None
    run = make_run(open_session(model))
    return {
        "tensors": _save(bench, f"{card.name}-{len(model.read_bytes())}-tensors", *_tensor_questions(card, run)),
        "files": _save(bench, f"{card.name}-{len(model.read_bytes())}-files", *_file_questions(card, run, jpegs)),
    }


def _tensor_questions(card: Card, run: Run) -> tuple[str, np.ndarray, np.ndarray]:
    assert isinstance(card.task, ImageTask)
    few = pictures(8, card.task.resize)
    answers = run({IMAGE_INPUT: few})[PROBABILITIES]
    orders = [np.random.default_rng(seed).integers(0, len(few), ROWS) for seed in range(4)]
    return "rows", np.stack([few[order] for order in orders]), np.stack([answers[order] for order in orders])


def _file_questions(card: Card, run: Run, count: int) -> tuple[str, np.ndarray, np.ndarray]:
    assert isinstance(card.task, ImageTask)
    files = photographs(count)
    resize = card.task.resize
    answers = [run({IMAGE_INPUT: prepare_image(file, resize)[None]})[PROBABILITIES][0] for file in files]
    return "files", np.array(files), np.stack(answers)


def _save(bench: Bench, name: str, kind: str, questions: np.ndarray, expected: np.ndarray) -> Path:
    path = bench.folder / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{kind: questions, "expected": expected})
    return path


def _add(bench: Bench, what: str, outcome: Outcome, rows: int, against: str) -> None:
    rate = rows * outcome.answers / outcome.seconds
    note = f"p50 {outcome.percentile(50):.1f} ms, p99 {outcome.percentile(99):.1f} ms"
    if outcome.wrong or outcome.errors or not outcome.answers:
        note += f"; {outcome.wrong} wrong, {outcome.errors} errors"
        bench.report.add(what, rate, UNIT, verdict="failed", note=note)
    else:
        bench.report.compare(what, rate, UNIT, against, note=note)


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
    decoded = next((row.value for row in report.rows if row.what.startswith("JPEG decoded")), None)
    served = _best(bench, "served, one JPEG", "fp16")
    if decoded and served:
        share = served / decoded
        limit = "the cores that decode are the limit" if share > 0.5 else "the cores that decode are not the limit"
        report.add("single JPEG requests", share, "of what the cores decode", note=limit)


def _best(bench: Bench, start: str, end: str) -> float:
    rows = [row.value or 0.0 for row in bench.report.rows if row.what.startswith(start) and row.what.endswith(end)]
    return max(rows, default=0.0)
