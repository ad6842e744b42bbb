"""CIFAR-10 as published: `cifar-10-batches-py` (pickles) or `cifar-10-batches-bin`; its test batch is the test part.

https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.images.items import GivenPart, ImageItem, ImageListing
from training.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FOLDERS = ("", "cifar-10-batches-py", "cifar-10-batches-bin")
_PIXELS = 3 * 32 * 32
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def is_cifar10(data: Path) -> bool:
    """Whether a folder, or the one that the archive makes in it, holds the batches."""
    return bool(_batches(data))


def read_cifar10(data: Path) -> ImageListing:
    """Read all batches that are there.

    Raises:
        DataError: a batch is damaged; the text names it.
    """
    items: list[ImageItem] = []
    for path in _batches(data):
        part: GivenPart = "test" if path.name.startswith("test") else "train"
        read = _read_binary if path.suffix == ".bin" else _read_pickle
        for number, (label, pixels) in enumerate(read(path)):
            items.append(ImageItem(f"{path.stem}/{number:05}", label, pixels, part))
    return ImageListing(tuple(items), CLASSES)


def _batches(data: Path) -> list[Path]:
    for folder in (data / name for name in _FOLDERS):
        for suffix in ("", ".bin"):
            found = sorted(folder.glob(f"data_batch_[0-9]{suffix}"))
            if found:
                return [*found, *(path for path in [folder / f"test_batch{suffix}"] if path.is_file())]
    return []


def _read_binary(path: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if not data.size or data.size % (1 + _PIXELS):
        raise DataError(f"{path} has {data.size} bytes, no multiple of {1 + _PIXELS}; it is damaged or not CIFAR-10")
    rows = data.reshape(-1, 1 + _PIXELS)
    yield from _images(path, rows[:, 0], rows[:, 1:])


def _read_pickle(path: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
        labels, pixels = np.asarray(batch[b"labels"]), np.asarray(batch[b"data"], np.uint8)
    except Exception as exc:  # pickle raises nearly anything on damaged input
        raise DataError(
            f"{path} is no batch of CIFAR-10 ({type(exc).__name__}: {exc}); unpack the archive again"
        ) from exc
    yield from _images(path, labels, pixels)


def _images(path: Path, labels: NDArray[Any], pixels: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    if pixels.shape != (len(labels), _PIXELS) or not np.isin(labels, range(len(CLASSES))).all():
        raise DataError(f"{path} is not CIFAR-10: pixels {list(pixels.shape)}, labels up to {labels.max(initial=0)}")
    images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    yield from zip(labels.tolist(), images, strict=True)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain values; whatever else a file asks for is refused, so that it cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)
