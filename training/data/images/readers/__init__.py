"""The forms that image data sets come in, each with a reader: a path -> `ImageListing`."""

from __future__ import annotations

import os
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
        DataError: it cannot be understood, has fewer than two classes, a class without images, or a name that is not
            UTF-8.
    """
    if not data.exists():
        raise DataError(f"there is no {data}; give a folder with one folder of images per class, or a table (.csv)")
    reader = next((read for fits, read in _READERS if fits(data)), read_folders)
    listing = reader(data)
    _check_names(data, listing)
    used = {item.label for item in listing.items}
    if len(used) < 2:
        only = f"only the class {listing.classes[min(used)]!r}" if used else "no images"
        raise DataError(f"{data} has {only}; a classifier needs two classes at least")
    return listing


def _check_names(data: Path, listing: ImageListing) -> None:
    """Names go into tables, reports and the card, all of which are UTF-8."""
    for name in (*listing.classes, *(item.name for item in listing.items)):
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            shown = os.fsencode(name).decode(errors="backslashreplace")
            raise DataError(
                f"{data}: the name {shown} is not UTF-8; rename it, for example with: "
                "convmv -f CP949 -t UTF-8 -r --notest"
            ) from exc
