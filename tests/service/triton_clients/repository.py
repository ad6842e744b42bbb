"""tritonclient.grpc, loading and unloading: `python repository.py ADDRESS`, on a server in explicit mode that has
loaded nothing of a repository with the good model `affine` and the file `broken`, which is no model."""

from __future__ import annotations

import sys

import numpy as np
import tritonclient.grpc as triton
from refusals import refused


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        assert [model.name for model in client.get_model_repository_index().models] == ["affine", "broken"]
        assert not client.is_model_ready("affine")
        client.load_model("affine")
        assert client.is_model_ready("affine")
        assert infer(client) == 3
        client.load_model("affine", config='{"max_batch_size": "16"}')
        assert client.get_model_config("affine").config.max_batch_size == 16
        refused(lambda: client.load_model("broken"), "failed to load 'broken', failed to poll from model repository")
        refused(lambda: client.load_model("nobody"), "failed to load 'nobody', failed to poll from model repository")
        refused(lambda: client.load_model("affine", files={"file:2/model.onnx": b"x"}, config="{}"), "over the wire")
        assert infer(client) == 3, "the failures left it alone"
        states = {model.name: model.state for model in client.get_model_repository_index().models}
        assert states == {"affine": "READY", "broken": "UNAVAILABLE"}, states
        client.unload_model("affine")
        assert not client.is_model_ready("affine")
        refused(lambda: infer(client), "Request for unknown model: 'affine' has no available versions")
        client.load_model("affine")
        assert infer(client) == 3


def infer(client: triton.InferenceServerClient) -> float:
    asked = triton.InferInput("x", [1, 3], "FP32")
    asked.set_data_from_numpy(np.ones((1, 3), np.float32))
    return float(client.infer("affine", [asked]).as_numpy("y")[0, 0])


if __name__ == "__main__":
    main(sys.argv[1])
