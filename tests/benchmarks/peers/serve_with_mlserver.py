"""MLServer: the Open Inference Protocol over gRPC, its adaptive batching, a runtime class of our own."""

from __future__ import annotations

import asyncio

from engine import MAX_BATCH, Model, read_task
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from numpy import array


class OnnxRuntime(MLModel):
    """A model."""

    async def load(self) -> bool:
        """Once in each worker."""
        assert self.settings.parameters is not None
        assert self.settings.parameters.uri is not None
        self._model = Model(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run a request, or several that MLServer has put together."""
        inputs = {
            part.name: array(StringCodec.decode_input(part), object)
            if part.datatype == "BYTES"
            else NumpyCodec.decode_input(part)
            for part in payload.inputs
        }
        outputs = self._model.run(inputs)
        encoded = [NumpyCodec.encode_output(name, value) for name, value in outputs.items()]
        return InferenceResponse(model_name=self.name, outputs=encoded)


async def main() -> None:
    """Serve until killed."""
    task = read_task()
    settings = Settings(
        host="127.0.0.1",
        grpc_port=task.port,
        http_port=task.port + 1,
        metrics_port=task.port + 2,
        grpc_max_message_length=-1,
        parallel_workers=task.workers if task.workers > 1 else 0,
        load_models_at_startup=False,
        debug=False,
    )
    model = ModelSettings(
        name=task.name,
        implementation="serve_with_mlserver.OnnxRuntime",
        max_batch_size=MAX_BATCH,
        max_batch_time=0.001,
        parameters=ModelParameters(uri=task.file),
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main())
