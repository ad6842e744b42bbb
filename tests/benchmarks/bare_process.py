"""A process that holds sessions of ONNX Runtime as a server opens them, and nothing else.

    python -m tests.benchmarks.bare_process FILE...

Each has answered its golden samples once. It says so, and waits to be measured until its input ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.cpus import available_cpus
from zoo.golden import golden_inputs
from zoo.package import read_card


def main() -> None:
    """Open, touch, wait."""
    backends = []
    for name in sys.argv[1:]:
        backend = OnnxBackend(Path(name), engine=Engine(threads=available_cpus()))
        card = read_card(Path(name))
        if card and card.golden.samples:
            backend.run(golden_inputs(card))
        backends.append(backend)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
