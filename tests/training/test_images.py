"""Image folders: what is found, what is refused, and that evaluation sees what a server sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.training.pictures import write_pictures
from training.data.images import (
    EvaluationImages,
    LabelledImages,
    TrainingImages,
    channel_statistics,
    read_images,
    split_images,
)
from training.data.images.augmentation import make_augmentation
from training.data.images.copies import write_copies
from training.errors import DataError
from training.settings import ImageSettings
from zoo.card import Resize
from zoo.image import prepare_image

CROPPED = Resize(shorter_side_px=48, height_px=40, width_px=40)
POLICIES = [
    CROPPED,
    Resize(shorter_side_px=100, height_px=96, width_px=80, interpolation="bicubic"),
    Resize(height_px=40, width_px=32, interpolation="bicubic"),
]


def read(root: Path, resize: Resize = CROPPED, *, skip_broken: bool = False) -> LabelledImages:
    return read_images(root, resize, skip_broken=skip_broken, console=Console(quiet=True))


@pytest.mark.parametrize("resize", POLICIES, ids=str)
def test_evaluation_sees_exactly_what_a_server_prepares(tmp_path: Path, resize: Resize) -> None:
    images = read(write_pictures(tmp_path, 3), resize)
    (inputs, classes), *_ = EvaluationImages(images, range(6), resize).batches(6)
    served = [prepare_image(file.encoded(), resize) for file in images.items]
    np.testing.assert_array_equal(inputs["image"], np.stack(served))
    assert classes == [0, 0, 0, 1, 1, 1]


def test_reference_statistics_are_of_what_the_graph_takes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        picture = np.full((48, 100, 3), 10, np.uint8)
        picture[:, 30:70] = (50, 60, 70)
        Image.fromarray(picture).save(tmp_path / name / "1.png")
    found = channel_statistics(EvaluationImages(read(tmp_path), range(2), CROPPED))
    assert [(found[name].min, found[name].max) for name in ("red", "green", "blue")] == [(50, 50), (60, 60), (70, 70)]


def test_copies_of_files_that_differ_in_form_only_stay_apart(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "red" / "001.jpg").rename(tmp_path / "in" / "red" / "000.png")
    images = read(tmp_path / "in")
    training = TrainingImages(images, range(4), CROPPED, make_augmentation(augmented(tmp_path), CROPPED))
    data = write_copies(training, 2, tmp_path / "out")
    assert len(data) == 12
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert len(written) == 8
    assert {"red/red_000.jpg-1.png", "red/red_000.png-2.png"} < written


def augmented(folder: Path) -> ImageSettings:
    return ImageSettings(data=folder, output=folder, name="x", smallest_crop=0.5)


def test_training_images_are_augmented_and_of_the_input_size(tmp_path: Path) -> None:
    transform = make_augmentation(augmented(tmp_path), CROPPED)
    images = TrainingImages(read(write_pictures(tmp_path, 3)), range(6), CROPPED, transform)
    (first, label), (again, _), (second, _) = images[0, 1], images[0, 1], images[0, 2]
    assert first.shape == (40, 40, 3)
    assert first.dtype.is_floating_point is False
    assert label == 0
    assert bool((first == again).all())
    assert not bool((first == second).all())


def test_a_val_folder_is_the_validation_part_and_the_test_part_comes_from_train(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", 10)
    write_pictures(tmp_path / "val", 4, seed=1)
    images = read(tmp_path)
    split = split_images(images, validation=0.3, test=0.2, seed=0)
    assert {images.items[index].name.split("/")[0] for index in split.validation} == {"val"}
    assert {images.items[index].name.split("/")[0] for index in split.train + split.test} == {"train"}
    assert [len(part) for part in split.parts().values()] == [16, 8, 4]
    assert split.description.endswith("(the data set's own: validation)")


def test_the_data_hash_changes_with_a_file_and_not_with_the_place(tmp_path: Path) -> None:
    first, second = write_pictures(tmp_path / "a", 2), write_pictures(tmp_path / "b", 2)
    assert read(first).sha256 == read(second).sha256
    (second / "red" / "000.jpg").rename(second / "red" / "other.jpg")
    assert read(first).sha256 != read(second).sha256


def test_a_broken_file_is_named_or_skipped(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    (tmp_path / "red" / "001.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"red/001\.jpg: .*not a readable image.*--skip-broken \(1 such"):
        read(tmp_path)
    images = read(tmp_path, skip_broken=True)
    assert len(images.items) == 5
    assert images.skipped[0].startswith("red/001.jpg: ")


def test_folders_that_cannot_be_trained_on_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no .*nowhere; give a folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no class folders"):
        read(tmp_path)
    with pytest.raises(DataError, match="has only the class 'red'"):
        read(write_pictures(tmp_path / "one", 2, ("red",)))
    (write_pictures(tmp_path / "two", 2) / "green").mkdir()
    with pytest.raises(DataError, match="green has no images"):
        read(tmp_path / "two")
    write_pictures(tmp_path / "three" / "train", 2)
    write_pictures(tmp_path / "three" / "val", 2, ("blue", "green", "red"))
    with pytest.raises(DataError, match="has the class 'green', which"):
        read(tmp_path / "three")
