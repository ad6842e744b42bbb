"""From an encoded image to the pixels that a graph takes: the one preprocessing of training and serving.

Resizing follows torchvision's `Resize` and `CenterCrop` on PIL images to the pixel; `tests/zoo/test_image.py` holds the
two against each other.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from zoo.card import Resize
from zoo.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are decoded; Pillow's other readers, some of which start programs, stay closed."""
MAX_PIXELS = 64_000_000
_USUAL_ASPECT = 4
"""Longer to shorter side; no image up to that is too narrow."""
_SPARE = 2
"""A reduced image has at least so many times the side that it is scaled to."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def prepare_image(data: bytes, resize: Resize, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image file and resize it: uint8 [height, width, 3], RGB.

    Raises:
        InputError: IMAGE_EMPTY, IMAGE_INVALID (not a readable image of `FORMATS`), IMAGE_TOO_LARGE (over `max_pixels`).
    """
    image = decode_image(data, max_pixels=max_pixels, resize=resize)
    return crop_image(scale_image(image, resize, max_pixels=max_pixels), resize)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, resize: Resize | None = None) -> Image.Image:
    """Decode an image file to an upright RGB image; at a reduced size, where `resize` allows that.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits, of an animation the
    first frame is taken. The pixel count is read from the header and checked before anything is decoded.

    Raises:
        InputError: as `prepare_image`.
    """
    if not data:
        raise InputError("IMAGE_EMPTY", "the image has 0 bytes; send the bytes of an image file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(image, max_pixels)
        if resize and resize.reduced_decoding:
            side = _SPARE * (resize.shorter_side_px or max(resize.height_px, resize.width_px))
            image.draft(None, (side, side))  # JPEG only; gives at least this size
        return _to_rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_large(str(exc), max_pixels) from exc
    # Pillow's readers raise nearly anything on damaged input, SyntaxError, struct.error and ZeroDivisionError among it.
    except Exception as exc:
        raise InputError(
            "IMAGE_INVALID",
            f"the {len(data)} bytes are not a readable image ({_first_line(exc)}); "
            f"send a complete {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file",
        ) from exc


def scale_image(image: Image.Image, resize: Resize, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Scale an RGB image by the policy, without the crop.

    Raises:
        InputError: IMAGE_TOO_LARGE, of one so narrow that it has over `max_pixels` when its shorter side is scaled.
    """
    size = (resize.width_px, resize.height_px)
    if resize.shorter_side_px is not None:
        size = _scaled_size(image.size, resize.shorter_side_px)
        if size[0] * size[1] > max(max_pixels, _USUAL_ASPECT * resize.shorter_side_px**2):
            what = f"{image.width}x{image.height} pixels, {size[0]}x{size[1]} when it is scaled for the model"
            raise _too_large(what, max_pixels)
    return image.resize(size, _FILTERS[resize.interpolation])


def crop_image(scaled: Image.Image, resize: Resize) -> NDArray[np.uint8]:
    """The centre of a scaled image, what a graph takes: uint8 [height, width, 3]."""
    left = round((scaled.width - resize.width_px) / 2)
    top = round((scaled.height - resize.height_px) / 2)
    return np.asarray(scaled.crop((left, top, left + resize.width_px, top + resize.height_px)))


def _scaled_size(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    width, height = size
    # torchvision truncates the longer side.
    if width <= height:
        return shorter_side, int(shorter_side * height / width)
    return int(shorter_side * width / height), shorter_side


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_8_bit(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bit(image: Image.Image) -> Image.Image:
    # Pillow clips such values at 255 when converting, which turns most 16-bit images white.
    values = np.asarray(image, dtype=np.float64)
    full_scale = 65535.0 if values.max(initial=0) > 255 else 255.0
    return Image.fromarray(np.clip(values * (255.0 / full_scale), 0, 255).round().astype(np.uint8))


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(f"{image.width}x{image.height} pixels", max_pixels)


def _too_large(what: str, max_pixels: int) -> InputError:
    return InputError("IMAGE_TOO_LARGE", f"the image has {what}, the limit is {max_pixels} pixels; send a smaller one")


def _first_line(exc: Exception) -> str:
    text = str(exc).partition("\n")[0].partition(" <_io.BytesIO")[0]
    return text or type(exc).__name__
