"""Decoding and resizing: to the pixel what torchvision does, and a typed error for everything that is no image."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.card import Resize
from zoo.errors import InputError
from zoo.image import FORMATS, crop_image, decode_image, prepare_image, scale_image

SQUARE = Resize(shorter_side_px=256, height_px=224, width_px=224)


def encode(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8))


def png_header(side: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 100) + b"IDAT"


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    crop=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    extra=st.integers(0, 40),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
def test_resize_is_torchvision_to_the_pixel(
    width: int, height: int, crop: tuple[int, int], extra: int, interpolation: str
) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode
    from torchvision.transforms import Resize as TorchvisionResize

    shorter = max(crop) + extra
    policy = Resize(shorter_side_px=shorter, interpolation=interpolation, height_px=crop[0], width_px=crop[1])
    reference = Compose([TorchvisionResize(shorter, InterpolationMode(interpolation)), CenterCrop(crop)])
    image = gradient(width, height)
    np.testing.assert_array_equal(crop_image(scale_image(image, policy), policy), np.asarray(reference(image)))


def test_resize_without_shorter_side_ignores_the_aspect() -> None:
    got = prepare_image(encode(gradient(30, 90)), Resize(height_px=20, width_px=40))
    assert got.shape == (20, 40, 3)
    assert got.dtype == np.uint8


def test_crops_of_real_photographs_are_the_published_ones(shared_data: Path) -> None:
    folder = shared_data / "photos_openimages"
    photos = [path for path in folder.iterdir() if path.suffix in (".jpg", ".bmp")]
    assert photos
    for photo in photos:
        expected = np.asarray(Image.open(folder / "crop224" / f"{photo.stem}.png").convert("RGB"))
        np.testing.assert_array_equal(prepare_image(photo.read_bytes(), SQUARE), expected, err_msg=photo.name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = gradient(40, 20)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that a camera held that way applies
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(np.asarray(decode_image(encode(stored, exif=exif))), np.asarray(upright))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"])
def test_every_mode_becomes_rgb(mode: str, format_: str) -> None:
    try:
        data = encode(Image.new(mode, (8, 6), 1 if mode in ("1", "F", "I", "I;16") else None), format_)
    except (OSError, KeyError, ValueError):
        return  # Pillow cannot write this pair, so nobody has such a file
    image = decode_image(data)
    assert (image.mode, image.size) == ("RGB", (8, 6))


def test_transparency_becomes_white_and_16_bits_become_8() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(decode_image(encode(clear))).min() == 255
    deep = Image.fromarray(np.full((4, 4), 32768, np.uint16))
    assert abs(int(np.asarray(decode_image(encode(deep)))[0, 0, 0]) - 128) <= 1


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(np.asarray(decode_image(data))[0, 0]) == (255, 0, 0)


def test_a_bomb_is_refused_from_its_header() -> None:
    for side in (9_000, 60_000):  # Pillow warns about the first and refuses the second by itself
        with pytest.raises(InputError, match="limit is 64000000 pixels") as error:
            decode_image(png_header(side) + b"\x00" * 100)
        assert error.value.reason == "IMAGE_TOO_LARGE"
    with pytest.raises(InputError, match="40x20 pixels, the limit is 799"):
        decode_image(encode(gradient(40, 20)), max_pixels=799)


def test_a_narrow_image_does_not_grow_without_limit() -> None:
    """A file of a few bytes, whose shorter side of 2 pixels is to become 256."""
    with pytest.raises(
        InputError, match="2x4000 pixels, 256x512000 when it is scaled for the model, the limit"
    ) as error:
        prepare_image(encode(Image.new("RGB", (2, 4000))), SQUARE)
    assert error.value.reason == "IMAGE_TOO_LARGE"
    assert prepare_image(encode(gradient(10, 40)), SQUARE, max_pixels=400).shape == (224, 224, 3)


def test_no_bytes_is_said_so() -> None:
    with pytest.raises(InputError, match="0 bytes") as error:
        decode_image(b"")
    assert error.value.reason == "IMAGE_EMPTY"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files_are_a_typed_error(format_: str) -> None:
    data = encode(gradient(64, 48), format_)
    for keep in (1, len(data) // 4, len(data) // 2):
        with pytest.raises(InputError) as error:
            decode_image(data[:keep])
        assert error.value.reason == "IMAGE_INVALID"


def test_formats_that_start_programs_stay_closed() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(InputError, match="JPEG, PNG, WEBP, GIF, BMP or TIFF"):
        decode_image(postscript)


Image.init()  # so that Image.SAVE has every format


# An MPO is a JPEG with more images behind it, of which the first counts.
@pytest.mark.parametrize("format_", sorted(Image.SAVE.keys() - set(FORMATS) - {"MPO"}))
@pytest.mark.filterwarnings("ignore")  # some of them want more than an image
def test_every_other_format_of_pillow_is_refused(format_: str) -> None:
    for mode in ("RGB", "P", "L", "1"):
        try:
            data = encode(gradient(64, 48).convert(mode), format_)
        except (OSError, KeyError, ValueError, AttributeError, TypeError):
            continue  # not in this mode
        with pytest.raises(InputError) as error:
            decode_image(data)
        assert error.value.reason == "IMAGE_INVALID"
        return
    pytest.skip(f"this Pillow writes no {format_}")


@settings(deadline=None, max_examples=150)
@given(data=st.data(), format_=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]))
@pytest.mark.filterwarnings("ignore")  # Pillow warns about damaged metadata
def test_damaged_files_decode_or_are_a_typed_error(data: st.DataObject, format_: str) -> None:
    damaged = bytearray(encode(gradient(33, 21), format_))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_image(bytes(damaged), max_pixels=1_000_000).mode == "RGB"
    except InputError as error:
        assert error.reason in ("IMAGE_INVALID", "IMAGE_TOO_LARGE")


REDUCING = SQUARE.model_copy(update={"reduced_decoding": True})


def photograph(width: int, height: int) -> Image.Image:
    """Smooth, with some noise, as photographs are."""
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    y, x = np.mgrid[:height, :width] / 60
    waves = 128 + 60 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=2)
    return Image.fromarray(np.clip(waves + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_may_be_decoded_at_a_reduced_size(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photograph(2400, 1800), "JPEG", quality=90, exif=exif)
    assert min(decode_image(data, resize=SQUARE).size) == 1800
    assert min(decode_image(data, resize=REDUCING).size) == 900, "half of it is more than twice 256, a quarter is not"
    difference = np.abs(prepare_image(data, REDUCING).astype(int) - prepare_image(data, SQUARE))
    assert 0 < difference.mean() < 0.5
    assert difference.max() < 16


@pytest.mark.parametrize(("size", "format_"), [((1000, 800), "JPEG"), ((2400, 1800), "PNG")])
def test_what_is_small_or_no_jpeg_is_decoded_whole(size: tuple[int, int], format_: str) -> None:
    data = encode(photograph(*size), format_)
    np.testing.assert_array_equal(prepare_image(data, REDUCING), prepare_image(data, SQUARE))


def test_a_reduced_size_is_no_way_around_the_limit_of_pixels() -> None:
    with pytest.raises(InputError, match="the limit is 1000000 pixels"):
        prepare_image(encode(photograph(2400, 1800), "JPEG"), REDUCING, max_pixels=1_000_000)
