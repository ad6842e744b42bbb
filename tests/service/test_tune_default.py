"""What the tuner calls the default is what the server does with a model that nobody has tuned."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from service.backend.onnx import OnnxBackend
from service.tuning.command import app
from tests.service import plain_graphs
from tests.service.conftest import Serve, add_plain

NUMBERS, PICTURES = ("batch", 3), ("batch", 4, 4, 3)


class Watch:
    """The most runs at a time and the most rows of a run, on a machine on which each takes a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_a_time = self.rows = 0
        self._running, self._run = 0, OnnxBackend.run
        monkeypatch.setattr(OnnxBackend, "run", lambda *arguments: self.run(*arguments))

    def run(self, backend: OnnxBackend, inputs: dict[str, Any], outputs: Sequence[str] = ()) -> dict[str, Any]:
        self._running += 1
        self.at_a_time, self.rows = max(self.at_a_time, self._running), max(self.rows, len(inputs["x"]))
        time.sleep(0.02)
        self._running -= 1
        return self._run(backend, inputs, outputs)


def tuned_default(repository: Path) -> dict[str, int]:
    """What the command has as the default."""
    file = repository / "tuned.json"
    words = ["--device", "cpu", "--seconds", "1", "--repository", str(repository), "--json", str(file)]
    CliRunner().invoke(app, words, catch_exceptions=False)
    (model,) = json.loads(file.read_text())["models"]
    return {what: model["default"][what] for what in ("instances", "threads", "rows")}


@pytest.mark.parametrize(
    ("axes", "row_seconds", "instances", "threads", "rows"),
    [(NUMBERS, 0.0001, 2, 1, 32), (NUMBERS, 0.004, 1, 2, 12), (PICTURES, 0.004, 2, 1, 4)],
)
async def test_the_default_is_what_the_server_does(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    axes: Sequence[int | str],
    row_seconds: float,
    instances: int,
    threads: int,
    rows: int,
) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine(axes))
    monkeypatch.setenv("MENAGERIE_COMPUTE_THREADS", "2")
    monkeypatch.setattr("service.models.pace.run_seconds", lambda backend, inputs: row_seconds)
    assert tuned_default(tmp_path) == {"instances": instances, "threads": threads, "rows": rows}
    calls = await serve(tmp_path)
    watch = Watch(monkeypatch)
    await calls.infer("affine", {"x": np.zeros((100, *axes[1:]), np.float32)})
    assert (watch.at_a_time, watch.rows) == (instances, rows)
