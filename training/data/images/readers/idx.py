"""MNIST, Fashion-MNIST and their like: IDX files, gzipped or not; the t10k files are the test part.

The names of the classes are 0, 1, 2, .. unless a file `labels.txt` beside the data has one per line.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.images.items import GivenPart, ImageItem, ImageListing
from training.data.utf8 import read_utf8
from training.errors import DataError

_PARTS: dict[str, GivenPart] = {"train": "train", "t10k": "test"}
_UNSIGNED_BYTE = 8


def is_idx(data: Path) -> bool:
    """Whether a folder holds IDX files of images."""
    return data.is_dir() and _find(data, "train-images") is not None


def read_idx(data: Path) -> ImageListing:
    """Read the training files, and the test files where there are any.

    Raises:
        DataError: a file is missing or damaged; the text names it.
    """
    items = [item for stem, part in _PARTS.items() for item in _read_part(data, stem, part)]
    count = 1 + max((item.label for item in items), default=-1)
    return ImageListing(tuple(items), _class_names(data, count))


def read_idx_file(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes.

    Raises:
        DataError: it is damaged, or of another type.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path} is no IDX file of bytes: it begins with {data[:4].hex()}")
    shape = np.frombuffer(data, ">u4", data[3], 4) if len(data) >= 4 + 4 * data[3] else np.zeros(0)
    values = np.frombuffer(data, np.uint8, offset=min(len(data), 4 + 4 * data[3]))
    if values.size != np.prod(shape):
        raise DataError(f"{path} has {values.size} values where its header says {shape.tolist()}; it was cut short")
    return values.reshape(shape.astype(int))


def _read_part(data: Path, stem: str, part: GivenPart) -> Iterator[ImageItem]:
    images, labels = _find(data, f"{stem}-images"), _find(data, f"{stem}-labels")
    if images is None:
        return
    if labels is None:
        raise DataError(f"{images} has no {stem}-labels file beside it")
    pixels, classes = read_idx_file(images), read_idx_file(labels)
    if pixels.ndim != 3 or classes.shape != pixels.shape[:1]:
        raise DataError(f"{images} holds {list(pixels.shape)} and {labels.name} {list(classes.shape)}; they do not fit")
    for number, (image, label) in enumerate(zip(pixels, classes.tolist(), strict=True)):
        yield ImageItem(f"{stem}/{number:05}", label, image, part)


def _find(data: Path, stem: str) -> Path | None:
    # `train-images-idx3-ubyte` as published, `train-images.idx3-ubyte` as some tools unpack it.
    return next(iter(sorted(data.glob(f"{stem}[-.]idx[13]-ubyte*"))), None)


def _class_names(data: Path, count: int) -> tuple[str, ...]:
    path = data / "labels.txt"
    if not path.is_file():
        return tuple(str(number) for number in range(count))
    names = tuple(read_utf8(path).split("\n")[:count])
    if len({name.strip() for name in names} - {""}) != count:
        raise DataError(f"{path} must have {count} different labels, one per line")
    return tuple(name.strip() for name in names)
