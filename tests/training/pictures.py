"""Small image data sets that a network learns at once: each class has a colour of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 70), "red": (210, 40, 40)}


def write_pictures(
    root: Path, per_class: int, classes: tuple[str, ...] = ("blue", "red"), seed: int = 0, colour: str = ""
) -> Path:
    """Write `per_class` noisy JPEG files of 72x60 pixels per class below `root`, in its own colour or in one."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            noise = rng.normal(0, 25, (60, 72, 3))
            pixels = np.clip(np.array(COLOURS[colour or name]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:03}.jpg", quality=95)
    return root
