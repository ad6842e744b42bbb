"""Reading images: each is decoded once, by `zoo.image`, and kept in memory scaled as its network needs it, so that an
epoch costs no decoding.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torchvision.transforms import v2

from training.data.images.folders import ImageFile, list_images
from training.data.split import Split, stratified_split
from training.errors import DataError
from training.hashing import manifest_hash
from zoo.card import Resize
from zoo.errors import InputError
from zoo.image import decode_image, resize_image


@dataclass(frozen=True)
class LabelledImages:
    """A data set in memory."""

    files: tuple[ImageFile, ...]
    classes: tuple[str, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    """Per file, [height, width, 3], scaled by the policy but not cropped."""
    digests: tuple[str, ...]
    """Per file, SHA-256."""
    skipped: tuple[str, ...] = ()
    """Names of unreadable files that were left out, with the reason."""

    @cached_property
    def sha256(self) -> str:
        """Over the names and contents of the files."""
        names = (file.name for file in self.files)
        return manifest_hash(zip(names, self.digests, strict=True))

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
        digests=tuple(digest for _, (_, digest) in good),
        skipped=tuple(broken),
    )


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
