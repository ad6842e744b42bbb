"""Every model served on CUDA and on the CPU, asked the same over gRPC: are the answers the same?"""

from __future__ import annotations

from contextlib import AsyncExitStack

import grpc
import numpy as np

from inference import grpc_service_pb2 as pb
from inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from service.backend.contract import DTYPES, Tensors
from service.models.entry import Entry
from service.server import Server
from service.settings import Settings
from tests.gpu.bench import Bench
from tests.gpu.callers import CHANNEL
from tests.gpu.models import HALF
from zoo import BUNDLED, byte_strings
from zoo.golden import golden_inputs
from zoo.repository import MODEL_FILE
from zoo.runtime import make_run, open_session

BATCHES = (1, 2, 5, 32)
TOLERANCES = {"": 2e-3, HALF: 3e-2, "int8": 5e-2}
"""Largest difference, as a fraction of the largest value of an output. float32 without TF32 differs by the order of
sums; int8 by roundings that fall to the other side."""


async def compare(bench: Bench) -> None:
    """Serve on both; without a GPU, compare what the CPU serves with ONNX Runtime alone."""
    repositories = (BUNDLED, *(path for path in (bench.models, *bench.repositories) if path.is_dir()))
    async with AsyncExitStack() as stack:
        servers = []
        for device in ("cpu", bench.device):
            if device:
                settings = Settings(repository=repositories, port=0, metrics_port=0, device=device)
                servers.append(await stack.enter_async_context(Server(settings)))
        for server in servers:
            await server.wait_loaded()
        stubs = []
        for server in servers:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address, options=CHANNEL))
            stubs.append(GRPCInferenceServiceStub(channel))
        for entry in servers[0].table.entries():
            if entry.model is None or entry.model.probe is None:
                bench.report.check(f"{entry.name} on the CPU", False, note=entry.reason)
                continue
            other = servers[-1].table.find(entry.name, entry.version)
            if other is None or other.model is None:
                bench.report.check(f"{entry.name} on CUDA", False, note=other.reason if other else "unknown")
                continue
            await _compare_model(bench, entry, other, stubs)


async def _compare_model(bench: Bench, entry: Entry, other: Entry, stubs: list[GRPCInferenceServiceStub]) -> None:
    assert entry.model is not None
    assert other.model is not None
    card = entry.model.card
    inputs = golden_inputs(card) if card and card.golden.samples else entry.model.probe
    assert inputs is not None
    run = make_run(open_session(entry.repository / entry.name / str(entry.version) / MODEL_FILE))
    worst = 0.0
    for rows in BATCHES if entry.model.signature.max_batch != 0 else (0,):
        batch = {name: np.resize(value, (rows, *value.shape[1:])) if rows else value for name, value in inputs.items()}
        request = _request(entry, batch)
        got = [_outputs(await stub.ModelInfer(request)) for stub in stubs]
        expected = got[0] if len(got) > 1 else run(batch)
        worst = max(worst, _difference(expected, got[-1]))
    limit = TOLERANCES[_precision(entry)]
    what = f"{entry.name} on {other.model.device.name} ({other.model.device.provider})"
    bench.report.check(what, worst <= limit, worst, "difference", note=f"limit {limit:g}")


def _precision(entry: Entry) -> str:
    assert entry.model is not None
    if entry.name.endswith(HALF):
        return HALF
    tried = entry.model.card.tried if entry.model.card else {}
    return "int8" if tried.get("int8", {}).get("kept") == "yes" else ""


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


def _outputs(response: pb.ModelInferResponse) -> Tensors:
    return {
        output.name: np.frombuffer(raw, DTYPES[output.datatype]).reshape(output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        if output.datatype != "BYTES"
    }


def _difference(expected: Tensors, got: Tensors) -> float:
    """The largest difference as a fraction of the largest value, over all outputs."""
    fractions = [0.0]
    for name, value in got.items():
        scale = max(float(np.abs(expected[name]).max(initial=0)), 1e-9)
        fractions.append(float(np.abs(expected[name].astype(np.float64) - value).max(initial=0)) / scale)
    return max(fractions)
