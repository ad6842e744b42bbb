"""What is measured: a model, and the requests that ask it, which all kinds of servers get alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.backend.contract import Tensors
from tests.benchmarks import inputs, models, raw_runtime
from tests.benchmarks.questions import Question, images_question, tensor_question
from zoo.card import ImageTask
from zoo.image import prepare_image
from zoo.package import read_card
from zoo.repository import MODEL_FILE

NAMES = ("forecaster", "text", "resnet18", "resnet18-int8", "resnet18-jpeg", "resnet50", "resnet50-int8", "pixel")
ROWS = 32
"""Different rows that are asked."""
_IMAGE_BATCHES, _SMALL_BATCHES = (1, 8, 32), (1, 8, 32, 128)


@dataclass(frozen=True)
class Workload:
    """A model and its questions."""

    name: str
    model: str
    file: Path
    inputs: Tensors
    """Some rows."""
    expected: Tensors
    """What ONNX Runtime alone gives for each."""
    tolerance: float = 1e-3
    """Of an output, as a fraction of its largest value."""
    batches: tuple[int, ...] = _SMALL_BATCHES
    """At which the floor is looked for."""
    images: tuple[bytes, ...] = ()
    """The inputs as JPEG files, where those are sent."""

    def rows(self, items: int, start: int = 0) -> tuple[Tensors, Tensors]:
        """So many rows from one on, and what is expected for them."""
        turn = np.arange(start, start + items) % len(next(iter(self.inputs.values())))
        asked = {name: value[turn] for name, value in self.inputs.items()}
        return asked, {name: value[turn] for name, value in self.expected.items()}

    def question(self, items: int, start: int = 0) -> Question:
        """A request to a Menagerie server."""
        asked, expected = self.rows(items, start)
        if not self.images:
            return tensor_question(self.model, asked, expected, self.tolerance)
        files = [self.images[(start + number) % len(self.images)] for number in range(items)]
        return images_question(self.model, files, expected["probabilities"])


def model_names(names: Sequence[str]) -> list[str]:
    """The models of some workloads."""
    return list(dict.fromkeys(name.removesuffix("-jpeg") for name in names))


def prepare(names: Sequence[str]) -> list[Workload]:
    """Workloads by name; models that are missing are made, and asked for their right answers."""
    repository = models.prepare(model_names(names))
    return [_prepare(name, repository) for name in names]


def _prepare(name: str, repository: Path) -> Workload:
    model = name.removesuffix("-jpeg")
    file = repository / model / "1" / MODEL_FILE
    images = tuple(inputs.photographs(ROWS)) if name.endswith("-jpeg") else ()
    asked = _decoded(file, images) if images else _INPUTS[model.split("-")[0]]()
    return Workload(
        name=name,
        model=model,
        file=file,
        inputs=asked,
        expected=raw_runtime.answers(file, asked),
        # The steps of int8 are coarse, and rounding may go another way in another kernel.
        tolerance=0.05 if "int8" in name else 1e-3,
        batches=_IMAGE_BATCHES if "image" in asked else _SMALL_BATCHES,
        images=images,
    )


def _decoded(file: Path, images: Sequence[bytes]) -> Tensors:
    card = read_card(file)
    assert card is not None
    assert isinstance(card.task, ImageTask)
    return {"image": np.stack([prepare_image(image, card.task.resize) for image in images])}


_INPUTS: dict[str, Callable[[], Tensors]] = {
    "forecaster": lambda: {"history": inputs.readings(ROWS)},
    "text": lambda: {"text": np.array(inputs.texts(ROWS), dtype=object)},
    "resnet18": lambda: {"image": inputs.pixels(ROWS)},
    "resnet50": lambda: {"image": inputs.pixels(ROWS)},
    "pixel": lambda: {"image": inputs.pixels(ROWS)},
}
