"""Offline augmentation: varied copies of the training images, written once and then trained on as they are."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from training.data.images.datasets import TrainingImages
from training.processes import is_first_process


def write_copies(images: TrainingImages, count: int, folder: Path) -> TensorDataset:
    """Write `count` copies of each image as `<folder>/<class>/<name>-<copy>.png`.

    Returns:
        Originals and copies, uint8 [N, H, W, 3], and their classes [N].
    """
    seen: list[Tensor] = []
    labels: list[int] = []
    for item in range(len(images)):
        source = images.images.items[images.indexes[item]]
        place = folder / _flat(images.images.classes[source.label])
        if is_first_process():
            place.mkdir(parents=True, exist_ok=True)
        seen.append(images.plain(item))
        for copy in range(1, count + 1):
            pixels, _ = images[item, copy * len(images) + item]
            if is_first_process():
                path = place / f"{_flat(source.name)}-{copy}.png"
                Image.fromarray(pixels.numpy()).save(path, compress_level=1)
            seen.append(pixels)
        labels += [source.label] * (1 + count)
    return TensorDataset(torch.stack(seen), torch.tensor(labels))


def _flat(name: str) -> str:
    """A name for one file: those of other folders, and of other forms of image, stay apart."""
    return name.replace("/", "_")
