"""Serves every model on CUDA and on the CPU, asks both the same over gRPC, and prints one table.

python tests/gpu/serve_on_cuda.py [--repository DIR ...] [--device cuda:0]

Exit code 1 if a model does not load on CUDA, or answers other than on the CPU. Without a CUDA device it says so and
serves the CPU side only, exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from inference import grpc_service_pb2 as pb
from inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from service.backend.contract import DTYPES, Tensors
from service.backend.device import check_cuda
from service.convert import byte_strings
from service.errors import DeviceError
from service.models.entry import Entry
from service.server import Server
from service.settings import Settings
from zoo import BUNDLED
from zoo.golden import golden_inputs

BATCHES = (1, 2, 5, 32)
TOLERANCE = 1e-2
"""Largest difference, as a fraction of the largest value: other orders of summation stay well below."""
REPETITIONS = 10

console = Console()


@dataclass
class Answer:
    """What a server said to one request, and how long it took."""

    outputs: Tensors
    seconds: float


async def compare(repositories: list[Path], device: str, *, cuda: bool) -> int:
    """Serve on both devices and compare; the exit code."""
    async with AsyncExitStack() as stack:
        servers = {}
        for name in ("cpu", device)[: 2 if cuda else 1]:
            settings = Settings(repository=tuple(repositories), port=0, metrics_port=0, device=name)
            servers[name] = await stack.enter_async_context(Server(settings))
        for server in servers.values():
            await server.wait_loaded()
        stubs = {}
        for name, server in servers.items():
            options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address, options=options))
            stubs[name] = GRPCInferenceServiceStub(channel)
        table = Table("model", "state on CUDA", "device", "rows", "CPU ms", "CUDA ms", "difference", box=None)
        failed = False
        for entry in servers["cpu"].table.entries():
            failed |= await _compare_model(table, entry, servers.get(device), stubs)
        console.print(table)
        if cuda:
            failed |= _tells_nothing_of_its_gpu(servers[device])
        return int(failed and cuda)


def _tells_nothing_of_its_gpu(server: Server) -> bool:
    """Print what its metrics say of the GPU; whether that is not all there should be."""
    families = [family for family in server.metrics.registry.collect() if family.name.startswith("nv_gpu_")]
    samples = [sample for family in families for sample in family.samples]
    for sample in samples:
        console.print(f"{sample.name} {sample.value:g} {sample.labels}")
    return len(samples) < 4


async def _compare_model(
    table: Table, entry: Entry, server: Server | None, stubs: dict[str, GRPCInferenceServiceStub]
) -> bool:
    """Add the rows of one model; whether it failed."""
    label = f"{entry.name} {entry.version}"
    if entry.model is None or entry.model.probe is None:
        table.add_row(label, f"not served on the CPU: {entry.reason}", "", "", "", "", "")
        return entry.model is None
    other = server.table.find(entry.name, entry.version) if server else None
    if other and other.model is None:
        table.add_row(label, f"[red]{other.state}: {other.reason}", "", "", "", "", "")
        return True
    card = entry.model.card
    inputs = golden_inputs(card) if card and card.golden.samples else entry.model.probe
    failed = False
    for rows in BATCHES if entry.model.signature.max_batch != 0 else (0,):
        batch = {name: np.resize(value, (rows, *value.shape[1:])) if rows else value for name, value in inputs.items()}
        request = _request(entry, batch)
        answers = [await _ask(stub, request) for stub in stubs.values()]
        difference = _difference(answers[0].outputs, answers[-1].outputs)
        bad = not difference <= TOLERANCE
        failed |= bad
        table.add_row(
            label if rows in (0, BATCHES[0]) else "",
            other.state if other else "no device",
            other.model.device.name if other and other.model else "",
            str(rows or "-"),
            f"{1e3 * answers[0].seconds:.2f}",
            f"{1e3 * answers[1].seconds:.2f}" if other else "",
            f"[{'red' if bad else 'green'}]{difference:.1e}" if other else "",
        )
    return failed


async def _ask(stub: GRPCInferenceServiceStub, request: pb.ModelInferRequest) -> Answer:
    """The median over some repetitions, after one that does not count."""
    response = await stub.ModelInfer(request)
    seconds = []
    for _ in range(REPETITIONS):
        start = perf_counter()
        response = await stub.ModelInfer(request)
        seconds.append(perf_counter() - start)
    outputs = {
        output.name: np.frombuffer(raw, DTYPES[output.datatype]).reshape(output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        if output.datatype != "BYTES"
    }
    return Answer(outputs, statistics.median(seconds))


def _request(entry: Entry, tensors: Tensors) -> pb.ModelInferRequest:
    assert entry.model is not None
    request = pb.ModelInferRequest(model_name=entry.name, model_version=str(entry.version))
    for spec in entry.model.signature.inputs:
        value = tensors[spec.name]
        request.inputs.add(name=spec.name, datatype=spec.datatype, shape=value.shape)
        request.raw_input_contents.append(
            byte_strings.encode(value) if spec.datatype == "BYTES" else value.astype(spec.dtype).tobytes()
        )
    return request


def _difference(expected: Tensors, got: Tensors) -> float:
    """The largest difference as a fraction of the largest value, over all outputs."""
    fractions = [0.0]
    for name, value in expected.items():
        scale = max(float(np.abs(value).max(initial=0)), 1e-9)
        fractions.append(float(np.abs(got[name].astype(np.float64) - value).max(initial=0)) / scale)
    return max(fractions)


def main() -> None:
    """Parse, look for a device, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", action="append", type=Path, default=[], help="besides the bundled zoo")
    parser.add_argument("--device", default="cuda:0")
    arguments = parser.parse_args()
    try:
        check_cuda(int(arguments.device.partition(":")[2] or 0))
        cuda = True
    except DeviceError as exc:
        console.print(f"[yellow]{exc}; serving on the CPU only[/]")
        cuda = False
    repositories = [folder for folder in (BUNDLED, *arguments.repository) if folder.is_dir()]
    sys.exit(asyncio.run(compare(repositories, arguments.device, cuda=cuda)))


if __name__ == "__main__":
    main()
