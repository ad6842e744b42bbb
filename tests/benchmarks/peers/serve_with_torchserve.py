"""TorchServe: its front in Java, gRPC, its batches of whole requests, a handler of our own in worker processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from engine import MAX_BATCH, Model, Task, read_task

# Without it each request is several lines on standard output.
QUIET = """<Configuration><Appenders><Console name="console"/></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="console"/></Root></Loggers></Configuration>"""


class Handler:
    """TorchServe makes one in each worker. Tensors are raw in both directions; texts one a line."""

    def initialize(self, context: Any) -> None:
        """Open the model beside the handler."""
        folder = Path(context.system_properties["model_dir"])
        self._model = Model(str(folder / "model.onnx"))
        ((self._name, self._datatype, self._dtype, self._shape),) = self._model.inputs

    def handle(self, requests: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Run a batch."""
        answers = self._model.run_together([{self._name: self._read(request["data"])} for request in requests])
        return [b"".join(value.tobytes() for value in answer.values()) for answer in answers]

    def _read(self, data: bytes | bytearray) -> np.ndarray:
        if self._datatype == "BYTES":
            return np.array(bytes(data).decode().split("\n"), dtype=object)
        return np.frombuffer(bytes(data), self._dtype).reshape(-1, *self._shape)


def serve(task: Task, folder: Path) -> None:
    """Archive the model, write the settings, start."""
    store = folder / "store"
    store.mkdir()
    shutil.copy(task.file, folder / "model.onnx")
    (folder / "model.yaml").write_text(
        f"minWorkers: {task.workers}\nmaxWorkers: {task.workers}\nbatchSize: {MAX_BATCH}\nmaxBatchDelay: 1\n"
    )
    here = Path(__file__)
    files = ",".join(map(str, (folder / "model.onnx", here.parent / "engine.py")))
    archive = ["torch-model-archiver", "--model-name", task.name, "--version", "1", "--handler", str(here)]
    archive += ["--extra-files", files, "--config-file", str(folder / "model.yaml"), "--export-path", str(store)]
    subprocess.run(archive, check=True)
    addresses = "".join(
        f"{name}_address=http://127.0.0.1:{task.port + more}\n"
        for more, name in enumerate(("inference", "management", "metrics"))
    )
    (folder / "config.properties").write_text(
        f"{addresses}grpc_inference_port={task.port + 3}\ngrpc_management_port={task.port + 4}\n"
        "max_request_size=100000000\ndisable_system_metrics=true\n"
    )
    command = ["torchserve", "--start", "--foreground", "--disable-token-auth", "--ncs", "--model-store", str(store)]
    (folder / "log4j2.xml").write_text(QUIET)
    command += ["--log-config", str(folder / "log4j2.xml")]
    command += ["--models", f"{task.name}={task.name}.mar", "--ts-config", str(folder / "config.properties")]
    os.environ["LOG_LOCATION"] = os.environ["METRICS_LOCATION"] = str(folder)
    sys.exit(subprocess.run(command, cwd=folder).returncode)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        serve(read_task(), Path(name))
