"""What the benchmarks ask: pictures, sentences and readings from fixed seeds, each row another."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 224
WINDOW, FEATURES = 168, 2
WORDS_OF_A_TEXT = 20


def vocabulary() -> tuple[str, ...]:
    """Twenty thousand words that no language has."""
    syllables = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in ("", "n", "r", "s")]
    rng = np.random.default_rng(0)
    words = {"".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(60_000)}
    return tuple(sorted(words)[:20_000])


def texts(count: int, seed: int = 1) -> list[str]:
    """Sentences of known words, 16 to 24 of them."""
    rng = np.random.default_rng(seed)
    words, mean = vocabulary(), WORDS_OF_A_TEXT
    return [" ".join(rng.choice(words, rng.integers(mean - 4, mean + 5))) for _ in range(count)]


def pixels(count: int, seed: int = 1) -> NDArray[np.uint8]:
    """Smooth random pictures, uint8 [N, 224, 224, 3]."""
    return np.stack([np.asarray(_picture(seed + number, (SIDE_PX, SIDE_PX))) for number in range(count)])


def photographs(count: int, seed: int = 1) -> list[bytes]:
    """JPEG files of 500 x 375 pixels and some 40 kB, the usual size of a picture in ImageNet."""
    files = []
    for number in range(count):
        file = io.BytesIO()
        _picture(seed + number, (500, 375)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def readings(count: int, seed: int = 1) -> NDArray[np.float32]:
    """Random walks, float32 [N, 168, 2]."""
    steps = np.random.default_rng(seed).normal(size=(count, WINDOW, FEATURES))
    return (100 + steps.cumsum(axis=1)).astype(np.float32)


def _picture(seed: int, size: tuple[int, int]) -> Image.Image:
    """Blots of several sizes: it compresses like a photograph, and no two look alike."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC),
            np.float32,
        )
        for cells in (3, 12, 48, 120)
    ]
    mixed = sum(layer * weight for layer, weight in zip(layers, (0.5, 0.25, 0.15, 0.1), strict=True))
    return Image.fromarray(np.asarray(mixed).round().astype(np.uint8))
