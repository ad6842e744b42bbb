"""Reading images: each is decoded once, by `zoo.image`, and kept in memory scaled as its network needs it, so that an
epoch costs no decoding.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.data.duplicates import ImageSignatures, sign_images
from training.data.groups import find_groups, split_classes
from training.data.images.items import ImageItem, ImageListing
from training.data.images.readers import find_images
from training.data.split import Split, count_parts
from training.errors import DataError
from training.hashing import manifest_hash
from zoo.card import Resize
from zoo.errors import InputError
from zoo.image import scale_image


@dataclass(frozen=True)
class LabelledImages:
    """A data set in memory."""

    items: tuple[ImageItem, ...]
    classes: tuple[str, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    """Per item, [height, width, 3], scaled by the policy but not cropped."""
    digests: tuple[str, ...]
    """Per item, SHA-256."""
    skipped: tuple[str, ...] = ()
    """Names of unreadable items that were left out, with the reason."""

    @cached_property
    def sha256(self) -> str:
        """Over the names and contents of the items."""
        names = (item.name for item in self.items)
        return manifest_hash(zip(names, self.digests, strict=True))

    @cached_property
    def signatures(self) -> ImageSignatures:
        """What near-duplicates are found by; computed once for all splits of the images."""
        return sign_images(self.pixels, self.digests)

    @property
    def labels(self) -> list[int]:
        """Class index of each image."""
        return [item.label for item in self.items]


def read_images(
    data: Path, resize: Resize, *, skip_broken: bool = False, crop_to_boxes: bool = False, console: Console
) -> LabelledImages:
    """Find, decode and scale all images of a data set.

    Args:
        data: in one of the forms of `training.data.images.readers`.
        resize: how they are scaled.
        skip_broken: leave unreadable images out and name them.
        crop_to_boxes: cut each image to the box that the data set gives for it.
        console: for progress.

    Raises:
        DataError: the data cannot be understood, a class is empty, an image is unreadable or has no box.
    """
    listing = find_images(data)
    if not crop_to_boxes:
        listing = replace(listing, items=tuple(replace(item, box=None) for item in listing.items))
    elif bare := next((item.name for item in listing.items if item.box is None), None):
        raise DataError(f"{data} has no box for {bare}; leave out --crop-to-boxes")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda item: _load(item, resize), listing.items)
        loaded = list(track(results, "reading images", len(listing.items), console=console, transient=True))
    pairs = list(zip(listing.items, loaded, strict=True))
    broken = [f"{item.name}: {result}" for item, result in pairs if isinstance(result, str)]
    if broken and not skip_broken:
        raise DataError(f"{data / broken[0]}; remove it, or pass --skip-broken ({len(broken)} such file(s))")
    good = [(item, result) for item, result in pairs if not isinstance(result, str)]
    _check_classes(data, listing, {item.label for item, _ in good})
    return LabelledImages(
        items=tuple(item for item, _ in good),
        classes=listing.classes,
        pixels=tuple(pixels for _, (pixels, _) in good),
        digests=tuple(digest for _, (_, digest) in good),
        skipped=tuple(broken),
    )


def split_images(images: LabelledImages, *, validation: float, test: float, seed: int, group: str = "") -> Split:
    """Split by class, and by group where there are groups; a validation or test part that the data set itself has is
    taken as it is.

    Args:
        images: all of them.
        validation: share of the validation part.
        test: share of the test part.
        seed: of the random choice.
        group: rule of `find_groups`; empty: there are no groups.

    Raises:
        DataError: a class has too few images, or there are too few groups.
        SettingsError: the rule is no rule.
    """
    given = {name: _of_part(images, name) for name in ("validation", "test")}
    pool = [index for index, item in enumerate(images.items) if item.part in (None, "train")]
    split = split_classes(
        [images.items[index].label for index in pool],
        image_groups(images, group, pool),
        validation=0 if given["validation"] else validation,
        test=0 if given["test"] else test,
        seed=seed,
        names=images.classes,
    )
    train, held_out, last = (tuple(pool[index] for index in part) for part in split.parts().values())
    held_out, last = given["validation"] or held_out, given["test"] or last
    own = ", ".join(name for name, indexes in given.items() if indexes)
    source = f" (the data set's own: {own})" if own else ""
    how, _, _ = split.description.rpartition(":")
    return Split(train, held_out, last, f"{how}: {count_parts(train, held_out, last)}{source}")


def image_groups(images: LabelledImages, rule: str, indexes: Sequence[int]) -> tuple[str, ...]:
    """The groups of some images, none without a rule; errors as of `find_groups`."""
    items = [images.items[index] for index in indexes]
    return find_groups(rule, [item.name for item in items], [item.columns for item in items]) if rule else ()


def _of_part(images: LabelledImages, part: str) -> tuple[int, ...]:
    return tuple(index for index, item in enumerate(images.items) if item.part == part)


def _check_classes(data: Path, listing: ImageListing, readable: set[int]) -> None:
    for item in listing.items:
        if item.label not in readable:
            raise DataError(f"{data} has no readable image of the class {listing.classes[item.label]!r}")


def _load(item: ImageItem, resize: Resize) -> tuple[NDArray[np.uint8], str] | str:
    """Scaled pixels and SHA-256 of an item; or why it cannot be read."""
    try:
        pixels = np.array(scale_image(item.decode(resize), resize))
        return pixels, hashlib.sha256(item.raw()).hexdigest()
    except (InputError, OSError) as exc:
        return str(exc)
