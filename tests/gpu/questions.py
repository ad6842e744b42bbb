"""What the server is asked, with the answers of a CPU, as files that the callers read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.benchmarks.inputs import photographs
from tests.gpu.bench import Bench
from tests.gpu.floors import ROWS
from tests.gpu.models import pictures
from zoo.card import IMAGE_INPUT, PROBABILITIES, Card, ImageTask
from zoo.golden import Run
from zoo.image import prepare_image
from zoo.package import read_card
from zoo.runtime import make_run, open_session

JPEGS = 64


def make_questions(bench: Bench, model: Path, jpegs: int = JPEGS) -> dict[str, Path]:
    """Requests with what a CPU answers to them, as files that the callers read."""
    card = read_card(model)
    assert card is not None
    run = make_run(open_session(model))
    return {
        "tensors": _save(bench, f"{card.name}-{len(model.read_bytes())}-tensors", *_tensor_questions(card, run)),
        "files": _save(bench, f"{card.name}-{len(model.read_bytes())}-files", *_file_questions(card, run, jpegs)),
    }


def _tensor_questions(card: Card, run: Run) -> tuple[str, np.ndarray, np.ndarray]:
    assert isinstance(card.task, ImageTask)
    few = pictures(8, card.task.resize)
    answers = run({IMAGE_INPUT: few})[PROBABILITIES]
    orders = [np.random.default_rng(seed).integers(0, len(few), ROWS) for seed in range(4)]
    return "rows", np.stack([few[order] for order in orders]), np.stack([answers[order] for order in orders])


def _file_questions(card: Card, run: Run, count: int) -> tuple[str, np.ndarray, np.ndarray]:
    assert isinstance(card.task, ImageTask)
    files = photographs(count)
    resize = card.task.resize
    answers = [run({IMAGE_INPUT: prepare_image(file, resize)[None]})[PROBABILITIES][0] for file in files]
    return "files", np.array(files), np.stack(answers)


def _save(bench: Bench, name: str, kind: str, questions: np.ndarray, expected: np.ndarray) -> Path:
    path = bench.folder / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{kind: questions, "expected": expected})
    return path
