"""KServe's Python server: the Open Inference Protocol over gRPC. Its batcher, a container of its own, is not used."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kserve
from engine import Model, read_task
from kserve import InferOutput, InferRequest, InferResponse


class OnnxModel(kserve.Model):
    """A model whose runs leave the event loop free."""

    def __init__(self, name: str, file: str, workers: int) -> None:
        super().__init__(name)
        self._model = Model(file)
        self._pool = ThreadPoolExecutor(workers)
        self.ready = True

    async def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        """Run a request."""
        inputs = {part.name: part.as_numpy() for part in payload.inputs}
        values = await asyncio.get_running_loop().run_in_executor(self._pool, self._model.run, inputs)
        outputs = []
        for name, datatype, _, _ in self._model.outputs:
            output = InferOutput(name, list(values[name].shape), datatype)
            output.set_data_from_numpy(values[name], binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)


if __name__ == "__main__":
    task = read_task()
    server = kserve.ModelServer(
        http_port=task.port + 1, grpc_port=task.port, workers=1, enable_docs_url=False, access_log_format=None
    )
    server.start([OnnxModel(task.name, task.file, task.workers)])
