"""A process that holds sessions of ONNX Runtime as a server opens them, and nothing else.

    python -m tests.benchmarks.bare_process FILE...

Each has answered its golden samples once. It says so, and waits to be measured until its input ends. For each line of
it, a number of rows, every model with golden samples runs a batch of so many; then it says so again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from service.backend.contract import Tensors
from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.cpus import available_cpus
from zoo.golden import golden_inputs
from zoo.package import read_card


def main() -> None:
    """Open, touch, wait."""
    sessions = [_open(Path(name)) for name in sys.argv[1:]]
    print("ready", flush=True)
    for line in sys.stdin:
        for backend, inputs in sessions:
            if inputs:
                backend.run({name: np.repeat(value[:1], int(line), axis=0) for name, value in inputs.items()})
        print("ready", flush=True)


def _open(path: Path) -> tuple[OnnxBackend, Tensors]:
    backend, card = OnnxBackend(path, engine=Engine(threads=available_cpus())), read_card(path)
    inputs = golden_inputs(card) if card and card.golden.samples else {}
    if inputs:
        backend.run(inputs)
    return backend, inputs


if __name__ == "__main__":
    main()
