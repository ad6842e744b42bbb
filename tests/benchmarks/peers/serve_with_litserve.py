"""LitServe: JSON over HTTP/1.1, the payload of its examples; pictures as base64, which its documentation proposes."""

# LitServe reads the annotations of `decode_request`: no `from __future__ import annotations` here.
import base64
from typing import Any

import litserve
import numpy as np
from engine import MAX_BATCH, Model, Task, read_task


class Api(litserve.LitAPI):
    """A model with LitServe's own batching."""

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(**options)
        self._task = task

    def setup(self, device: str) -> None:
        """Once in each worker."""
        self._model = Model(self._task.file)

    def decode_request(self, request: dict[str, Any]) -> dict[str, np.ndarray]:
        """Lists of numbers or texts, or base64 with a shape."""
        ((name, _, dtype, _),) = self._model.inputs
        if "base64" in request:
            data = base64.b64decode(request["base64"])
            return {name: np.frombuffer(data, dtype).reshape(request["shape"])}
        return {name: np.array(request["inputs"], dtype)}

    def batch(self, inputs: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Joined where the model is run."""
        return inputs

    def predict(self, inputs: Any) -> Any:
        """Of one request, or of those that LitServe puts together."""
        return self._model.run_together(inputs)

    def unbatch(self, output: Any) -> Any:
        """An answer for each."""
        return output

    def encode_response(self, output: dict[str, np.ndarray]) -> dict[str, Any]:
        """As lists."""
        return {name: value.tolist() for name, value in output.items()}


if __name__ == "__main__":
    task = read_task()
    api = Api(task, max_batch_size=MAX_BATCH, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=task.workers)
    server.run(host="127.0.0.1", port=task.port, generate_client_file=False, log_level="warning")
