"""Memory of the GPU: it comes back after an unload, and a batch that does not fit costs nobody anything."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import grpc
import numpy as np

from inference import grpc_service_pb2 as pb
from inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from service.backend.driver import load_driver
from service.server import Server
from service.settings import Settings
from tests.gpu.bench import Bench
from tests.gpu.callers import CHANNEL
from tests.gpu.models import MAIN, model_file, pictures
from zoo.card import IMAGE_INPUT, PROBABILITIES, ImageTask
from zoo.package import read_card
from zoo.runtime import make_run, open_session

CYCLES = 4
GROWTH_MIB = 64
"""What may stay after the first cycle, which starts libraries that stay."""
ROWS = 32
CAPS_MIB = (160, 192, 224, 256, 320, 384, 512)
"""Tried in turn, until one is too small for a full batch and large enough for one row."""


async def check_unload(bench: Bench) -> None:
    """Load, ask and unload again and again; what is used afterwards may not grow."""
    driver, used = load_driver(), []
    repository = _repository(bench, "unloaded")
    settings = Settings(
        repository=(repository,), port=0, metrics_port=0, device=bench.device or "", control_mode="explicit"
    )
    async with Server(settings) as server:
        await server.wait_loaded()
        for _ in range(CYCLES):
            before = _used(driver.memory(bench.ordinal))
            await server.table.load(MAIN)
            loaded = _used(driver.memory(bench.ordinal))
            await server.table.unload(MAIN)
            used.append((before, loaded, _used(driver.memory(bench.ordinal))))
    bench.report.add("used by a model", used[-1][1] - used[-1][0], "MiB", note=f"before, loaded, after: {used}")
    growth = used[-1][2] - used[0][2]
    bench.report.check(f"kept after {CYCLES} unloads", growth <= GROWTH_MIB, growth, "MiB", f"limit {GROWTH_MIB}")


async def check_out_of_memory(bench: Bench) -> None:
    """With a cap that a full batch is over: answered in halves, and the next requests as ever."""
    file = model_file(bench, MAIN)
    card = read_card(file)
    assert card is not None
    assert isinstance(card.task, ImageTask)
    few = pictures(8, card.task.resize)
    images = np.ascontiguousarray(np.resize(few, (ROWS, *few.shape[1:])))
    expected = np.resize(make_run(open_session(file))({IMAGE_INPUT: few})[PROBABILITIES], (ROWS, len(card.task.labels)))
    repository = _repository(bench, "capped")
    for cap in CAPS_MIB:
        settings = Settings(
            repository=(repository,), port=0, metrics_port=0, device=bench.device or "", gpu_memory_mib=cap
        )
        async with Server(settings) as server:
            await server.wait_loaded()
            (entry,) = server.table.entries()
            if entry.model is None:
                bench.report.add(f"cap of {cap} MiB: too small for the model", note=entry.reason[:150])
                continue
            async with grpc.aio.insecure_channel(server.address, options=CHANNEL) as channel:
                stub = GRPCInferenceServiceStub(channel)
                for what, rows in ((f"{ROWS} rows", ROWS), ("one row after it", 1), (f"{ROWS} rows again", ROWS)):
                    got = await _ask(stub, images[:rows])
                    difference = float(np.abs(got - expected[:rows]).max())
                    bench.report.check(f"cap of {cap} MiB: {what}", difference < 2e-3, difference, "difference")
            halved = _metric(server.metrics_url, "menagerie_retried_batches_total")
        bench.report.add(f"cap of {cap} MiB: batches that were run in halves", halved)
        if halved:
            return
    bench.report.add("out of memory", verdict="failed", note=f"no cap of {CAPS_MIB} MiB was too small for {ROWS} rows")


async def _ask(stub: GRPCInferenceServiceStub, images: np.ndarray) -> np.ndarray:
    request = pb.ModelInferRequest(model_name=MAIN, raw_input_contents=[images.tobytes()])
    request.inputs.add(name=IMAGE_INPUT, datatype="UINT8", shape=images.shape)
    request.outputs.add(name=PROBABILITIES)
    response = await stub.ModelInfer(request)
    return np.frombuffer(response.raw_output_contents[0], np.float32).reshape(len(images), -1)


def _repository(bench: Bench, name: str) -> Path:
    target = bench.folder / name / MAIN / "1" / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model_file(bench, MAIN), target)
    return bench.folder / name


def _used(memory: tuple[int, int]) -> int:
    free, total = memory
    return (total - free) // 2**20


def _metric(url: str, name: str) -> float:
    with urllib.request.urlopen(url) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
