"""The forms that image data sets come in, each with a reader: a path -> `ImageListing`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data.images.items import ImageListing
from training.data.images.readers.cifar10 import is_cifar10, read_cifar10
from training.data.images.readers.cub200 import is_cub200, read_cub200
from training.data.images.readers.folders import read_folders
from training.data.images.readers.idx import is_idx, read_idx
from training.data.images.readers.table import is_table, read_table
from training.errors import DataError

_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], ImageListing]], ...] = (
    (is_table, read_table),
    (is_cifar10, read_cifar10),
    (is_idx, read_idx),
    (is_cub200, read_cub200),
)


def find_images(data: Path) -> ImageListing:
    """List the images of a data set; its form is told by its files.

    Raises:
        DataError: it cannot be understood, or has fewer than two classes, or a class without images.
    """
    if not data.exists():
        raise DataError(f"there is no {data}; give a folder with one folder of images per class, or a table (.csv)")
    reader = next((read for fits, read in _READERS if fits(data)), read_folders)
    listing = reader(data)
    used = {item.label for item in listing.items}
    if len(used) < 2:
        only = f"only the class {listing.classes[min(used)]!r}" if used else "no images"
        raise DataError(f"{data} has {only}; a classifier needs two classes at least")
    return listing
