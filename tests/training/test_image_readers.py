"""The forms that image data sets come in: what is read, and what is said about damaged ones."""

from __future__ import annotations

import gzip
import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.training.pictures import write_pictures
from training.data.images import read_images, split_images
from training.data.images.readers import find_images
from training.errors import DataError
from zoo.card import Resize

RNG = np.random.default_rng(0)
SMALL = Resize(height_px=8, width_px=8)


def write_cifar(root: Path, *, binary: bool, per_batch: int = 4) -> np.ndarray:
    """Five training batches and a test batch; gives the pixels of the first image, [32, 32, 3]."""
    folder = root / ("cifar-10-batches-bin" if binary else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    first = None
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        labels = [index % 10 for index in range(per_batch)]
        pixels = RNG.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        first = pixels[0].reshape(3, 32, 32).transpose(1, 2, 0) if first is None else first
        if binary:
            rows = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], 1)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            (folder / name).write_bytes(pickle.dumps({b"labels": labels, b"data": pixels, b"batch_label": b"x"}))
    assert first is not None
    return first


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.astype(np.uint8).tobytes()


def write_idx(root: Path) -> np.ndarray:
    root.mkdir(parents=True)
    pixels = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    (root / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(pixels)))
    (root / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.array([0, 1, 2, 0, 1, 2]))))
    (root / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(pixels[:3]))
    (root / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 2])))
    return pixels


def write_cub(root: Path) -> None:
    write_pictures(root / "images", 2, ("001.Black_Bird", "002.Red_Bird"), colour="red")
    names = [f"{folder}/{number:03}.jpg" for folder in ("001.Black_Bird", "002.Red_Bird") for number in (0, 1)]
    (root / "images.txt").write_text("".join(f"{index} {name}\n" for index, name in enumerate(names, 1)))
    (root / "image_class_labels.txt").write_text("1 1\n2 1\n3 2\n4 2\n")
    (root / "train_test_split.txt").write_text("1 1\n2 0\n3 1\n4 0\n")
    (root / "classes.txt").write_text("1 001.Black_Bird\n2 002.Red_Bird\n")
    (root / "bounding_boxes.txt").write_text("".join(f"{index} 10.0 5.0 30.0 20.0\n" for index in range(1, 5)))


@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
def test_cifar10_in_both_forms(tmp_path: Path, binary: bool) -> None:
    first = write_cifar(tmp_path, binary=binary)
    listing = find_images(tmp_path)
    assert Counter(item.part for item in listing.items) == {"train": 20, "test": 4}
    assert listing.classes[listing.items[3].label] == "cat"
    np.testing.assert_array_equal(np.array(listing.items[0].decode()), first)
    assert listing.items[0].name == "data_batch_1/00000"


def test_a_damaged_or_harmful_batch_of_cifar10_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("it ran",))

    write_cifar(tmp_path / "python", binary=False)
    (tmp_path / "python" / "cifar-10-batches-py" / "data_batch_2").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(DataError, match=r"data_batch_2 is no batch of CIFAR-10 .*it asks for builtins.print"):
        find_images(tmp_path / "python")
    write_cifar(tmp_path / "binary", binary=True)
    (tmp_path / "binary" / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"test_batch.bin has 3 bytes, no multiple of 3073"):
        find_images(tmp_path / "binary")


def test_idx_files_gzipped_or_not_with_names_of_their_own(tmp_path: Path) -> None:
    pixels = write_idx(tmp_path / "mnist")
    listing = find_images(tmp_path / "mnist")
    assert Counter(item.part for item in listing.items) == {"train": 6, "test": 3}
    assert listing.classes == ("0", "1", "2")
    np.testing.assert_array_equal(np.array(listing.items[4].decode())[..., 0], pixels[4])
    (tmp_path / "mnist" / "labels.txt").write_text("shirt\ndress\ncoat\n")
    assert find_images(tmp_path / "mnist").classes == ("shirt", "dress", "coat")
    (tmp_path / "mnist" / "labels.txt").write_text("shirt\nshirt\ncoat\n")
    with pytest.raises(DataError, match="must have 3 different labels"):
        find_images(tmp_path / "mnist")
    (tmp_path / "mnist" / "labels.txt").write_bytes("shirt\nrobe d'été\ncoat\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"labels.txt, line 2: byte 0xe9 is not UTF-8"):
        find_images(tmp_path / "mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(np.zeros((6, 28, 28)))[:-1], "has 4703 values where its header says .*cut short"),
        (b"\x00\x00\x0d\x01....", "is no IDX file of bytes: it begins with 00000d01"),
        (idx_bytes(np.zeros((5, 28, 28))), "they do not fit"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte.gz.*{message}"):
        find_images(tmp_path / "mnist")


def test_idx_files_without_an_image_or_with_broken_compression_are_told(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist")
    packed = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    whole = bytearray(packed.read_bytes())
    whole[12:40] = bytes(28)
    packed.write_bytes(bytes(whole))
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz cannot be read"):
        find_images(tmp_path / "mnist")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((0, 28, 28))))
    (empty / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(0)))
    with pytest.raises(DataError, match="has no images"):
        find_images(empty)


def test_cub200_has_its_own_split_and_boxes(tmp_path: Path) -> None:
    write_cub(tmp_path)
    quiet = Console(quiet=True)
    whole = read_images(tmp_path, SMALL, console=quiet)
    assert whole.classes == ("Black Bird", "Red Bird")
    assert [item.part for item in whole.items] == ["train", "test", "train", "test"]
    assert whole.items[0].decode().size == (72, 60)
    cut = read_images(tmp_path, SMALL, crop_to_boxes=True, console=quiet)
    assert cut.items[0].decode().size == (30, 20)
    (tmp_path / "bounding_boxes.txt").write_text("1 10.0 5.0\n")
    with pytest.raises(DataError, match="a list is not as it was published"):
        find_images(tmp_path)
    (tmp_path / "bounding_boxes.txt").unlink()
    with pytest.raises(DataError, match="has no box for 001.Black_Bird/000.jpg"):
        read_images(tmp_path, SMALL, crop_to_boxes=True, console=quiet)


def test_a_table_of_paths_and_labels(tmp_path: Path) -> None:
    write_pictures(tmp_path, 10)
    rows = [
        f"{name}/{number:03}.jpg,{name},{'test' if number > 7 else ''}"
        for name in ("red", "blue")
        for number in range(10)
    ]
    table = tmp_path / "photographs.csv"
    table.write_text("\ufeffFilename,Species,Split\n" + "\n".join(rows) + "\n", encoding="utf-8")
    images = read_images(table, SMALL, console=Console(quiet=True))
    assert images.classes == ("blue", "red")
    split = split_images(images, validation=0.25, test=0.5, seed=0)
    assert [len(part) for part in split.parts().values()] == [12, 4, 4]
    assert {images.items[index].part for index in split.test} == {"test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("picture,label\na.jpg,x\n", r"has no column for the path; its columns are 'picture', 'label'"),
        ("path,label\na.jpg,x\n", r"line 2: there is no file .*a\.jpg"),
        ("path,label\nred/000.jpg,\n", "line 2: the label is missing"),
        ("path,label,part\nred/000.jpg,x,later\n", "line 2: the part is 'later'; expected train, val or test"),
        ("path,label\nred/000.jpg,x\nred/001.jpg,x\n", "has only the class 'x'"),
        ("path,label\n", "has no images"),
        (f"path,label\nred/000.jpg,{'x' * 200_000}\n", "not a table: field larger"),
        ("path,label\nred/000.jpg,cat, small\n", "line 2: more cells than columns; is a quote missing"),
        ("", "its columns are none"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_by_line(tmp_path: Path, content: str, message: str) -> None:
    write_pictures(tmp_path, 2, ("red",))
    (tmp_path / "photographs.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        find_images(tmp_path / "photographs.csv")
    (tmp_path / "latin.csv").write_bytes("path,label\nred/000.jpg,é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.csv, line 2: byte 0xe9 is not UTF-8"):
        find_images(tmp_path / "latin.csv")


def test_images_of_every_kind_become_rgb(tmp_path: Path) -> None:
    rgb = Image.new("RGB", (20, 10), (200, 30, 30))
    turned = Image.Exif()
    turned[0x0112] = 6  # its top is at the right
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        rgb.convert("L").save(tmp_path / folder / "grey.png")
        rgb.convert("P").save(tmp_path / folder / "palette.png")
        Image.new("RGBA", (20, 10), (200, 30, 30, 0)).save(tmp_path / folder / "alpha.png")
        rgb.convert("CMYK").save(tmp_path / folder / "cmyk.jpg")
        rgb.save(tmp_path / folder / "exif.jpg", exif=turned)
    images = read_images(tmp_path, SMALL, console=Console(quiet=True))
    by_name = {item.name: item.decode() for item in images.items}
    assert {image.mode for image in by_name.values()} == {"RGB"}
    assert by_name["a/exif.jpg"].size == (10, 20)
    assert by_name["a/alpha.png"].getpixel((3, 3)) == (255, 255, 255)
    assert by_name["a/palette.png"].getpixel((3, 3))[0] > 150
    assert by_name["a/cmyk.jpg"].getpixel((3, 3)) == pytest.approx((200, 30, 30), abs=12)


def test_a_test_folder_is_the_test_part(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", 10)
    write_pictures(tmp_path / "test", 3, seed=1)
    images = read_images(tmp_path, SMALL, console=Console(quiet=True))
    split = split_images(images, validation=0.2, test=0.2, seed=0)
    assert [len(part) for part in split.parts().values()] == [16, 4, 6]
    assert {images.items[index].name.split("/")[0] for index in split.test} == {"test"}


def test_a_class_without_a_readable_image_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    for path in (tmp_path / "red").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match="has no readable image of the class 'red'"):
        read_images(tmp_path, SMALL, skip_broken=True, console=Console(quiet=True))


@pytest.mark.parametrize("odd", ["folder", "file"])
def test_a_name_that_is_not_utf8_is_one_line(tmp_path: Path, odd: str) -> None:
    write_pictures(tmp_path, 1, ("blue", "red"))
    bad = os.fsdecode(b"\xb0\xed")
    if odd == "folder":
        (tmp_path / "red").rename(tmp_path / bad)
    else:
        (tmp_path / "red" / "000.jpg").rename(tmp_path / "red" / f"{bad}.jpg")
    with pytest.raises(DataError, match=r"the name .*\\xb0\\xed.* is not UTF-8; rename it"):
        find_images(tmp_path)
