"""Folders of images: finding, checking and caching them, and the batches for training and evaluation.

Every image is decoded once, by `zoo.image`, and kept in memory scaled as its network needs it, so that an epoch costs
no decoding. Evaluation sees exactly the pixels that `zoo.image.prepare_image` gives to a server.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from training.data.split import Split, stratified_split
from training.errors import DataError
from training.hashing import manifest_hash
from zoo.card import IMAGE_INPUT, ColumnStatistics, Distribution, Resize
from zoo.errors import InputError
from zoo.golden import Tensors
from zoo.image import decode_image, resize_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_TRAIN, _VALIDATION = "train", "val"


@dataclass(frozen=True)
class ImageFile:
    """An image on disk."""

    path: Path
    name: str
    """Path below the data folder, with forward slashes."""
    label: int
    for_validation: bool
    """It lies in a val folder."""


@dataclass(frozen=True)
class LabelledImages:
    """A data set in memory."""

    files: tuple[ImageFile, ...]
    classes: tuple[str, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    """Per file, [height, width, 3], scaled by the policy but not cropped."""
    sha256: str
    """Over the names and contents of the files."""
    skipped: tuple[str, ...] = ()
    """Names of unreadable files that were left out, with the reason."""

    @property
    def labels(self) -> list[int]:
        """Class index of each image."""
        return [file.label for file in self.files]


def read_image_folder(root: Path, resize: Resize, *, skip_broken: bool, console: Console) -> LabelledImages:
    """Find, decode and scale all images below a folder of class folders.

    Raises:
        DataError: there is no such folder, or fewer than two classes, or an empty one, or an unreadable file.
    """
    files, classes = list_images(root)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda file: _load(file, resize), files)
        loaded = list(track(results, "reading images", len(files), console=console, transient=True))
    broken = [f"{file.name}: {result}" for file, result in zip(files, loaded, strict=True) if isinstance(result, str)]
    if broken and not skip_broken:
        raise DataError(f"{root / broken[0]}; remove it, or pass --skip-broken ({len(broken)} such file(s))")
    good = [(file, result) for file, result in zip(files, loaded, strict=True) if not isinstance(result, str)]
    return LabelledImages(
        files=tuple(file for file, _ in good),
        classes=classes,
        pixels=tuple(pixels for _, (pixels, _) in good),
        sha256=manifest_hash((file.name, digest) for file, (_, digest) in good),
        skipped=tuple(broken),
    )


def list_images(root: Path) -> tuple[list[ImageFile], tuple[str, ...]]:
    """The images below `root/<class>/`, or below `root/train/<class>/` and `root/val/<class>/`, and the classes.

    Raises:
        DataError: there is no such folder, or fewer than two classes, or a class without images.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give a folder with one folder of images per class")
    parts = [part for part in (root / _TRAIN, root / _VALIDATION) if part.is_dir()]
    if parts and not (root / _TRAIN).is_dir():
        raise DataError(f"{root} has a folder {_VALIDATION} but none named {_TRAIN}")
    parts = parts or [root]
    classes = _class_names(parts[0])
    files = [file for part in parts for file in _list_part(root, part, classes)]
    return files, classes


def split_images(images: LabelledImages, *, validation: float, test: float, seed: int) -> Split:
    """Split by class: a val folder is the validation part where there is one, and the test part never comes from it.

    Raises:
        DataError: a class has too few images.
    """
    pool = [index for index, file in enumerate(images.files) if not file.for_validation]
    given = tuple(index for index, file in enumerate(images.files) if file.for_validation)
    labels = [images.files[index].label for index in pool]
    split = stratified_split(labels, validation=0 if given else validation, test=test, seed=seed, names=images.classes)
    train, held_out, last = (tuple(pool[index] for index in part) for part in split.parts().values())
    held_out = given or held_out
    counts = f"{len(train)} train / {len(held_out)} validation / {len(last)} test"
    source = " (validation: the val folder)" if given else ""
    return Split(train, held_out, last, f"stratified by class, seed {seed}: {counts}{source}")


class TrainingImages(Dataset[tuple[Tensor, int]]):
    """Augmented images: random crop, flip and colour; uint8 [H, W, 3] and the class."""

    def __init__(self, images: LabelledImages, indexes: Sequence[int], resize: Resize, smallest_crop: float) -> None:
        self.images = images
        self.indexes = indexes
        size = (resize.height_px, resize.width_px)
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(smallest_crop, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            ]
        )

    def __len__(self) -> int:
        return len(self.indexes)

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        index = self.indexes[item]
        image = torch.from_numpy(self.images.pixels[index]).permute(2, 0, 1)
        return self.transform(image).permute(1, 2, 0).contiguous(), self.images.files[index].label


class EvaluationImages(Dataset[tuple[Tensor, int]]):
    """Images as a server prepares them; uint8 [H, W, 3] and the class."""

    def __init__(self, images: LabelledImages, indexes: Sequence[int], resize: Resize) -> None:
        self.images = images
        self.indexes = indexes
        self.resize = resize

    def __len__(self) -> int:
        return len(self.indexes)

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        index = self.indexes[item]
        return torch.from_numpy(self.pixels(item)), self.images.files[index].label

    def pixels(self, item: int) -> NDArray[np.uint8]:
        """The image alone."""
        # Scaling what is scaled already changes nothing, so this is what decoding and resizing anew would give.
        scaled = Image.fromarray(self.images.pixels[self.indexes[item]])
        return np.array(resize_image(scaled, self.resize))

    def batches(self, size: int) -> Iterator[tuple[Tensors, list[int]]]:
        """All images in order, as inputs of a graph."""
        for start in range(0, len(self), size):
            items = range(start, min(start + size, len(self)))
            classes = [self.images.files[self.indexes[item]].label for item in items]
            yield {IMAGE_INPUT: np.stack([self.pixels(item) for item in items])}, classes


def channel_statistics(images: LabelledImages, indexes: Sequence[int]) -> dict[str, ColumnStatistics]:
    """Distribution of each colour channel, 0 to 255."""
    counts = np.zeros((3, 256), np.int64)
    for index in indexes:
        for channel in range(3):
            counts[channel] += np.bincount(images.pixels[index][..., channel].ravel(), minlength=256)
    return {name: _statistics(counts[channel]) for channel, name in enumerate(("red", "green", "blue"))}


def _statistics(histogram: NDArray[np.int64]) -> ColumnStatistics:
    values = np.arange(256)
    mean = float(np.average(values, weights=histogram))
    std = float(np.sqrt(np.average((values - mean) ** 2, weights=histogram)))
    used = np.flatnonzero(histogram)
    return ColumnStatistics(
        mean=round(mean, 3),
        std=round(std, 3),
        min=float(used[0]),
        max=float(used[-1]),
        distribution=Distribution.of_counts(used, histogram[used]),
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no class folders"
        raise DataError(f"{folder} has {found}; give at least two folders of images, one per class")
    return tuple(names)


def _list_part(root: Path, part: Path, classes: tuple[str, ...]) -> Iterator[ImageFile]:
    extra = [name for name in _class_names(part) if name not in classes]
    if extra:
        raise DataError(f"{part} has the class {extra[0]!r}, which {root / _TRAIN} has not")
    for label, name in enumerate(classes):
        paths = sorted(path for path in (part / name).glob("**/*") if _is_image(path))
        if not paths:
            raise DataError(f"{part / name} has no images ({', '.join(SUFFIXES)}); fill it or remove it")
        for path in paths:
            yield ImageFile(path, path.relative_to(root).as_posix(), label, part.name == _VALIDATION and part != root)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _load(file: ImageFile, resize: Resize) -> tuple[NDArray[np.uint8], str] | str:
    """Scaled pixels and SHA-256 of a file; or why it cannot be read."""
    try:
        data = file.path.read_bytes()
        image = decode_image(data)
    except (InputError, OSError) as exc:
        return str(exc)
    return _scale(image, resize), hashlib.sha256(data).hexdigest()


def _scale(image: Image.Image, resize: Resize) -> NDArray[np.uint8]:
    if resize.shorter_side_px is None:
        return resize_image(image, resize)
    interpolation = v2.InterpolationMode(resize.interpolation)
    return np.array(v2.functional.resize(image, [resize.shorter_side_px], interpolation))
