"""A plain ONNX Runtime session on the CPU, for the command line here and for the publication gate of training.

The server has its own, `service.backend`, which knows about devices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from zoo.errors import PackageError
from zoo.golden import Run, Tensors


def open_session(model: Path | bytes, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a model on the CPU.

    Args:
        model: a file, or the bytes of one.
        threads: threads of one operator; 0: as many as cores.

    Raises:
        PackageError: ONNX Runtime refuses the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; warnings about the graph are for its exporter
    try:
        source = model if isinstance(model, bytes) else str(model)
        # Its fall-back would try the same once more, and write of it to standard output.
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
        where = "the exported model" if isinstance(model, bytes) else str(model)
        raise PackageError(f"{where}: ONNX Runtime refuses it: {exc}") from exc


def make_run(session: onnxruntime.InferenceSession) -> Run:
    """Run a session with named inputs and outputs."""
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Tensors) -> Tensors:
        return {name: np.asarray(value) for name, value in zip(names, session.run(names, inputs), strict=True)}

    return run
