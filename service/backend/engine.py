"""How a model is run: what an operator may choose about the engine, for all models or for one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Choices that change speed and memory; what is computed only where it says so."""

    threads: int = 1
    """Cores that one run may use."""
    runs: int = 1
    """Runs at a time that may use so many on a CPU; those beside them take one core each."""
    gpu_memory_bytes: int | None = None
    """The most that the session takes of the GPU's memory; None: as much as it needs."""
    tf32: bool = False
    """Whether float32 products on a GPU keep 10 bits of mantissa only: several times faster, errors up to 1e-3."""
    cuda_graphs: bool = False
    """Whether runs of fixed shapes are recorded and replayed, which spares the CPU the launch of each kernel."""
    tensorrt: bool = False
    """Whether TensorRT runs what it can of the graph on a GPU."""
    cache: Path | None = None
    """Folder for what TensorRT builds; None: it is built at every start."""
