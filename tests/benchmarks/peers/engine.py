"""What the adapters of other servers share. They run in environments of their own, where nothing of ours is installed.

Every adapter is called as `ADAPTER.py FILE NAME PORT WORKERS`: serve this ONNX file under this name, in so many workers
of one thread each. Its directory is on the path, so that it finds this module.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

MAX_BATCH = 32
"""Rows of a batch, as in the default of ours."""

DTYPES = {
    "tensor(string)": ("BYTES", np.object_),
    "tensor(float)": ("FP32", np.float32),
    "tensor(uint8)": ("UINT8", np.uint8),
}
"""Types of ONNX Runtime that occur here: their names in the Open Inference Protocol and in numpy."""

Tensors = dict[str, Any]


class Task(NamedTuple):
    """What an adapter is asked for."""

    file: str
    name: str
    port: int
    workers: int


def read_task() -> Task:
    """From the command line."""
    file, name, port, workers = sys.argv[1:5]
    return Task(file, name, int(port), int(workers))


class Model:
    """A session of ONNX Runtime with one thread."""

    def __init__(self, file: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = [(node.name, *DTYPES[node.type], node.shape[1:]) for node in self._session.get_inputs()]
        self.outputs = [(node.name, *DTYPES[node.type], node.shape[1:]) for node in self._session.get_outputs()]

    def run(self, inputs: Tensors) -> Tensors:
        """Names to tensors; texts may be bytes."""
        names = [name for name, *_ in self.outputs]
        values = self._session.run(names, {name: as_text(value) for name, value in inputs.items()})
        return dict(zip(names, values, strict=True))

    def run_together(self, requests: Sequence[Tensors]) -> list[Tensors]:
        """Several requests as one batch, and the answer to each."""
        names = [name for name, *_ in self.inputs]
        sizes = [len(request[names[0]]) for request in requests]
        joined = self.run({name: np.concatenate([request[name] for request in requests]) for name in names})
        ends = np.cumsum(sizes)[:-1]
        parts = {name: np.split(value, ends) for name, value in joined.items()}
        return [{name: part[place] for name, part in parts.items()} for place in range(len(requests))]


def as_text(value: np.ndarray) -> np.ndarray:
    """Strings as ONNX Runtime takes them; anything else as it is."""
    if value.dtype.kind not in "OS":
        return value
    texts = [text.decode() if isinstance(text, bytes) else text for text in value.ravel().tolist()]
    return np.array(texts, dtype=object).reshape(value.shape)
