"""PyTriton: Triton's C++ server in front of Python functions, its dynamic batcher, gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from engine import MAX_BATCH, Model, Task, read_task
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def make_function(model: Model) -> Callable[..., Any]:
    """A function that PyTriton calls with a batch."""

    @batch
    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        # PyTriton has a column axis where a text of the protocol has none.
        rows = {name: value[:, 0] if value.dtype.kind in "OS" else value for name, value in inputs.items()}
        return {name: value.reshape(len(value), -1) for name, value in model.run(rows).items()}

    return run


def tensors(specs: list[Any]) -> list[Tensor]:
    """Descriptions without the batch axis."""
    return [
        Tensor(
            name=name,
            dtype=np.bytes_ if datatype == "BYTES" else dtype,
            shape=tuple(axis if isinstance(axis, int) else -1 for axis in shape) or (1,),
        )
        for name, datatype, dtype, shape in specs
    ]


def main(task: Task) -> None:
    """Serve until killed."""
    models = [Model(task.file) for _ in range(task.workers)]
    config = TritonConfig(
        grpc_port=task.port, http_port=task.port + 1, metrics_port=task.port + 2, grpc_address="127.0.0.1"
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name=task.name,
            infer_func=[make_function(model) for model in models],
            inputs=tensors(models[0].inputs),
            outputs=tensors(models[0].outputs),
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
            strict=False,
        )
        triton.serve()


if __name__ == "__main__":
    main(read_task())
