"""A model of which every file answers with a factor of its own, so that an answer tells which one runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.models.entry import State
from service.models.model_table import ModelTable
from tests.service import plain_graphs
from tests.service.calls import Calls


def scaled(factor: float) -> bytes:
    """A graph: y = factor x + 1."""
    return plain_graphs.affine(factor=factor)


async def factor_of(calls: Calls, model: str = "affine") -> float:
    """The factor of the file that runs."""
    answer = await calls.infer(model, {"x": np.ones((1, 3), np.float32)})
    return round(float(answer["y"][0, 0]) - 1, 3)


def states_of(table: ModelTable) -> dict[int, State]:
    """Where the versions of the only model stand."""
    return {entry.version: entry.state for entry in table.entries()}


def replace_file(repository: Path, name: str, data: bytes, version: int = 1) -> None:
    """Publish a file over another one, by renaming."""
    folder = repository / name / str(version)
    (folder / ".aside").write_bytes(data)
    (folder / ".aside").replace(folder / "model.onnx")
