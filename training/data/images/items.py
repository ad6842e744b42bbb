"""One image of a data set, before it is read."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.card import Resize
from zoo.image import decode_image

GivenPart = Literal["train", "validation", "test"]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class ImageItem:
    """A labelled image."""

    name: str
    """Free of machine paths, e.g. `train/daisy/1.jpg`."""
    label: int
    source: Path | NDArray[np.uint8]
    """A file, or pixels: [height, width], or [height, width, 3]."""
    part: GivenPart | None = None
    """Where the data set itself puts it."""
    box: Box | None = None
    """Where in the image its object is."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What else a table says about it."""

    def encoded(self) -> bytes:
        """The bytes of an image file, what a client would send."""
        if isinstance(self.source, Path):
            return self.source.read_bytes()
        file = io.BytesIO()
        Image.fromarray(self.source).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def file(self) -> bytes:
        """As `encoded`; of an image with a box what is in it, without loss."""
        if self.box is None:
            return self.encoded()
        file = io.BytesIO()
        self.decode().save(file, "PNG", compress_level=1)
        return file.getvalue()

    def decode(self, resize: Resize | None = None) -> Image.Image:
        """The upright RGB image, cut to its box where it has one; at a reduced size, where `resize` allows that.

        Raises:
            InputError: it is not readable.
            OSError: the file is not.
        """
        image = decode_image(self.encoded(), resize=None if self.box else resize)  # a box counts pixels of the file
        return image.crop(self.box) if self.box else image

    def raw(self) -> bytes:
        """What the hash of the image is taken over; of pixels themselves, lest it depend on an encoder."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source.tobytes()


@dataclass(frozen=True)
class ImageListing:
    """What a reader found."""

    items: tuple[ImageItem, ...]
    classes: tuple[str, ...]
