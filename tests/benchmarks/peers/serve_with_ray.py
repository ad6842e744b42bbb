"""Ray Serve: a gRPC service of the application's own, which here is the Open Inference Protocol, and `serve.batch`."""

from __future__ import annotations

import signal

import numpy as np
import ray
from engine import MAX_BATCH, Model, Tensors, read_task
from ray import serve
from ray.serve.config import gRPCOptions

from inference import grpc_service_pb2 as pb


@serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
class OnnxModel:
    """A replica."""

    def __init__(self, name: str, file: str) -> None:
        self._name = name
        self._model = Model(file)

    async def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:  # noqa: N802
        """Run a request."""
        values = await self._run(read_inputs(request))
        response = pb.ModelInferResponse(model_name=self._name, model_version="1")
        for name, datatype, _, _ in self._model.outputs:
            response.outputs.add(name=name, datatype=datatype, shape=values[name].shape)
            response.raw_output_contents.append(values[name].tobytes())
        return response

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.001)
    async def _run(self, requests: list[Tensors]) -> list[Tensors]:
        return self._model.run_together(requests)


def read_inputs(request: pb.ModelInferRequest) -> Tensors:
    """Raw contents as arrays."""
    inputs: Tensors = {}
    for part, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if part.datatype == "BYTES":
            inputs[part.name] = np.array(split_texts(raw), dtype=object)
        else:
            dtype = {"FP32": np.float32, "UINT8": np.uint8}[part.datatype]
            inputs[part.name] = np.frombuffer(raw, dtype).reshape(part.shape)
    return inputs


def split_texts(raw: bytes) -> list[bytes]:
    """Each has its length in front, four bytes."""
    texts, start = [], 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        texts.append(raw[start + 4 : end])
        start = end
    return texts


if __name__ == "__main__":
    task = read_task()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(
        http_options={"port": task.port + 1},
        grpc_options=gRPCOptions(
            port=task.port,
            grpc_servicer_functions=["inference.grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server"],
        ),
    )
    serve.run(OnnxModel.options(num_replicas=task.workers).bind(task.name, task.file), name=task.name)
    signal.sigwait({signal.SIGTERM})
    ray.shutdown()  # its processes are in sessions of their own
