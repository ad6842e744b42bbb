"""Golden samples of an image classifier: photographs small enough to travel in the card, and torch's answers."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.card import IMAGE_INPUT, PROBABILITIES, Golden, GoldenSample, Resize
from zoo.golden import Run
from zoo.image import prepare_image

FLOAT_TOLERANCE = 1e-3
"""Absolute and relative, of probabilities that one float32 graph gives on different machines."""
_SHORTER_SIDE_PX = 256


def choose_samples(probabilities: NDArray[np.float32], classes: Sequence[int], count: int = 4) -> list[int]:
    """Choose rows of right answers, of different classes where it can be, with about 0.9 for the true class.

    A saturated answer would hide a small error, an undecided one would magnify it.
    """
    truth = probabilities[np.arange(len(classes)), classes]
    ranked = np.argsort(np.abs(truth - 0.9), kind="stable")
    right = [int(row) for row in ranked if probabilities[row].argmax() == classes[row]] or ranked.tolist()
    first: dict[int, int] = {}
    for row in right:
        first.setdefault(classes[row], row)
    others = [row for row in right if row not in first.values()]
    return [*first.values(), *others][:count]


def make_golden(images: Sequence[bytes], resize: Resize, run: Run, *, atol: float, rtol: float) -> Golden:
    """Golden samples from encoded images.

    Args:
        images: encoded image files.
        resize: of the card.
        run: the trained torch model.
        atol: absolute tolerance of a probability.
        rtol: relative tolerance.
    """
    pixels = np.stack([prepare_image(image, resize) for image in images])
    expected = run({IMAGE_INPUT: pixels})[PROBABILITIES]
    samples = [
        GoldenSample(image=image, expected=tuple(float(value) for value in row))
        for image, row in zip(images, expected, strict=True)
    ]
    return Golden(samples=tuple(samples), atol=atol, rtol=rtol)


def encode_small(image: Image.Image) -> bytes:
    """A JPEG of the image, its shorter side at most 256 pixels."""
    factor = _SHORTER_SIDE_PX / min(image.size)
    if factor < 1:
        width, height = (max(1, round(side * factor)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def generated_images(seed: int = 0) -> list[bytes]:
    """Four PNG files of coloured patterns, for models without photographs at hand."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:256, 0:320] / 256
    patterns = [
        np.stack([x / 1.25, y, (x + y) / 2.25], axis=-1),
        np.stack([np.sin(9 * x), np.sin(9 * y), np.sin(9 * (x + y))], axis=-1) / 2 + 0.5,
        np.kron(rng.random((16, 20, 3)), np.ones((16, 16, 1))),
        np.repeat(((x * 16).astype(int) + (y * 16).astype(int))[..., None] % 2, 3, axis=-1),
    ]
    return [_png((pattern * 255).round().astype(np.uint8)) for pattern in patterns]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()
