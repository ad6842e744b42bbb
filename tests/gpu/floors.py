"""What the GPU can do without a server, which is what the server is measured against: ONNX Runtime, and torch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
import torch

from service.backend.contract import Device
from service.backend.driver import load_driver
from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.backend.opening import open_session
from service.backend.providers import CUDA_PROVIDER, cuda_providers, tensorrt_version
from service.errors import DeviceError
from tests.gpu.bench import Bench
from tests.gpu.models import MAIN, make_classifier, model_file, pictures
from tests.gpu.report import timed
from zoo.card import IMAGE_INPUT, ImageTask
from zoo.package import read_card

ROWS = 32
LARGE_ROWS = 128
RAW = {False: "raw ONNX Runtime, IO binding, float32", True: "raw ONNX Runtime, IO binding, fp16"}
"""The floors that the server is compared with, by whether they are in half precision."""
EAGER = "torch eager, fp16, channels last"
COMPILED = "torch.compile, fp16, channels last"
UNIT = "images/s"


def measure_runtime(bench: Bench) -> None:
    """ONNX Runtime alone, copies to and from the GPU included, and this project's backend on top of it."""
    images = _images(bench, ROWS)
    for half in (False, True):
        file, end = model_file(bench, MAIN, half=half), "fp16" if half else "float32"
        session = open_session(file, cuda_providers(bench.ordinal, Engine()), 1)
        _add(bench, f"raw ONNX Runtime, session.run, {end}", lambda s=session: s.run(None, {IMAGE_INPUT: images}))
        bound = _bound(session)
        _add(bench, RAW[half], lambda b=bound: b(images))
        large = _images(bench, LARGE_ROWS)
        _add(bench, f"raw ONNX Runtime, {LARGE_ROWS} rows, {end}", lambda b=bound, x=large: b(x), rows=LARGE_ROWS)
        _add(
            bench,
            f"raw ONNX Runtime, IO binding, two threads, {end}",
            lambda b=bound: b(images),
            threads=2,
            against=RAW[half],
        )
        _add_on_gpu(bench, session, images, f"raw ONNX Runtime, input on the GPU already, {end}")
        _add_layout(bench, file, images, f"raw ONNX Runtime, channels last inside, {end}", RAW[half])
        del session, bound
        _measure_backend(bench, file, images, end, RAW[half])


def measure_torch(bench: Bench) -> None:
    """torch with the same network in half precision; its memory is given back afterwards."""
    _measure_torch(bench)
    torch.cuda.empty_cache()


def _measure_torch(bench: Bench) -> None:
    """From uint8 in the CPU's memory to probabilities there."""
    classifier, _ = make_classifier(MAIN)
    device = torch.device(bench.device or "cpu")
    classifier = classifier.to(device)
    network = classifier.network.half().to(memory_format=torch.channels_last)
    images = torch.from_numpy(_images(bench, ROWS)).pin_memory()

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return network(classifier.normalise(rows).half()).float().softmax(1)

    def run(function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        with torch.inference_mode():
            return function(images.to(device, non_blocking=True)).cpu()

    _add(bench, EAGER, lambda: run(forward), against=RAW[True])
    compiled = torch.compile(forward)
    start = perf_counter()
    run(compiled)
    bench.report.add("torch.compile, first call", perf_counter() - start, "s")
    _add(bench, COMPILED, lambda: run(compiled), against=RAW[True])


def _measure_backend(bench: Bench, file: Path, images: np.ndarray, end: str, floor: str) -> None:
    device = Device(bench.device or "", CUDA_PROVIDER)
    for what, engine, threads in (
        ("backend, page-locked", Engine(), 1),
        ("backend, page-locked, two threads", Engine(), 2),
        ("backend, CUDA graphs", Engine(cuda_graphs=True), 1),
        ("backend, TF32", Engine(tf32=True), 1),
    ):
        backend = OnnxBackend(file, device, engine)
        _add(bench, f"{what}, {end}", lambda b=backend: b.run({IMAGE_INPUT: images}), threads=threads, against=floor)
        latency = timed(lambda b=backend: b.run({IMAGE_INPUT: images[:1]}), bench.seconds)
        bench.report.add(f"{what}, one row, {end}", 1e3 * median(latency), "ms")
        backend.close()
    try:
        tensorrt_version()
    except DeviceError as exc:
        bench.report.add(f"TensorRT, {end}", verdict="skipped", note=exc.message)
        return
    engine = Engine(tensorrt=True, cache=bench.folder / "cache")
    start = perf_counter()
    backend = OnnxBackend(file, replace(device, provider="TensorrtExecutionProvider"), engine)
    backend.run({IMAGE_INPUT: images})
    bench.report.add(f"TensorRT, engine built, {end}", perf_counter() - start, "s")
    _add(bench, f"TensorRT, {end}", lambda: backend.run({IMAGE_INPUT: images}), against=floor)
    backend.close()


def _bound(session: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A run through IO binding as the documentation of ONNX Runtime has it: from and to the CPU's memory."""

    def run(images: np.ndarray) -> np.ndarray:
        binding = session.io_binding()
        binding.bind_cpu_input(IMAGE_INPUT, images)
        binding.bind_output("probabilities")
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]

    return run


def _add_on_gpu(bench: Bench, session: Any, images: np.ndarray, what: str) -> None:
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(images, "cuda", bench.ordinal)
    binding.bind_ortvalue_input(IMAGE_INPUT, value)
    binding.bind_output("probabilities", "cuda", bench.ordinal)
    _add(bench, what, lambda: session.run_with_iobinding(binding))


def _add_layout(bench: Bench, file: Path, images: np.ndarray, what: str, floor: str) -> None:
    """NHWC inside the provider, which tensor cores want; not every build has it."""
    providers = cuda_providers(bench.ordinal, Engine())
    providers[0][1]["prefer_nhwc"] = "1"
    try:
        run = _bound(open_session(file, providers, 1))
        _add(bench, what, lambda: run(images), against=floor)
    except Exception as exc:
        bench.report.add(what, verdict="skipped", note=str(exc)[:200])


def _add(
    bench: Bench, what: str, run: Callable[[], Any], *, rows: int = ROWS, threads: int = 1, against: str = ""
) -> None:
    with ThreadPoolExecutor(threads) as pool:
        took = list(pool.map(lambda _: timed(run, bench.seconds), range(threads)))
    rate = sum(rows / median(seconds) for seconds in took)
    bench.report.compare(what, rate, UNIT, against)


def _images(bench: Bench, rows: int) -> np.ndarray:
    card = read_card(model_file(bench, MAIN))
    assert card is not None
    assert isinstance(card.task, ImageTask)
    few = pictures(8, card.task.resize)
    return np.ascontiguousarray(np.resize(few, (rows, *few.shape[1:])))


def describe_device(bench: Bench) -> dict[str, Any]:
    """What the driver says about the GPU."""
    driver = load_driver()
    free, total = driver.memory(bench.ordinal)
    return {"gpu": driver.name(bench.ordinal), "memory_mib": total // 2**20, "free_mib": free // 2**20}
