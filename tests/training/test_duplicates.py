"""Near-duplicates across training, validation and test part: found, told, left out, refused."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from rich.console import Console

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.data.duplicates import image_overlap, sign_images, text_overlap
from training.data.images import read_images, split_images
from training.data.split import Split
from training.errors import DataError
from training.pipelines.duplicates import treat_image_duplicates
from zoo.card import Card, Resize
from zoo.package import read_card

Train = Callable[..., Result]


def photograph(seed: int) -> Image.Image:
    """A smooth coloured pattern of 90x120."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC)


def variants(image: Image.Image) -> dict[str, Image.Image]:
    """What people do to a picture."""
    noisy = np.asarray(image, np.int16) + np.random.default_rng(0).integers(-9, 10, (90, 120, 3))
    return {
        "scaled": image.resize((60, 45)),
        "lighter": ImageEnhance.Brightness(image).enhance(1.2),
        "noisy": Image.fromarray(noisy.clip(0, 255).astype(np.uint8)),
        "cut": image.crop((1, 1, 119, 89)),
    }


def test_a_picture_is_recognised_whatever_was_done_to_it() -> None:
    originals = [photograph(seed) for seed in range(60)]
    changed = list(variants(originals[7]).values())
    held_out = sign_images([np.asarray(image) for image in [*changed, photograph(100)]], [""] * 5)
    others = sign_images([np.asarray(image) for image in originals], [str(seed) for seed in range(60)])
    overlap = image_overlap(held_out, others)
    assert {item: near.item for item, near in overlap.nearest.items()} == dict.fromkeys(range(4), 7)
    assert overlap.others == {7}


def test_the_same_file_is_the_same_even_without_contents() -> None:
    grey = [np.full((8, 8, 3), value, np.uint8) for value in (10, 200)]
    overlap = image_overlap(sign_images(grey[:1], ["a"]), sign_images(grey, ["b", "a"]))
    assert overlap.nearest[0].item == 1


def test_texts_that_differ_in_signs_or_a_few_characters() -> None:
    others = [
        "A lovely film from the first to the last of its minutes!",
        "굿 ㅋㅋ",
        "an entirely different remark about the weather",
        ":-)",
        "good",
    ]
    held_out = [
        "a LOVELY film, from the first to the last of its minutes",
        "a lovelly film from the first to the last of its minutes",
        "굿ㅋㅋ!",
        "good film",
        ":-)",
        "so so",
    ]
    overlap = text_overlap(held_out, others)
    assert {item: near.item for item, near in overlap.nearest.items()} == {0: 0, 1: 0, 2: 1, 4: 3}
    assert overlap.nearest[0].similarity == 1 > overlap.nearest[1].similarity
    assert overlap.others == {0, 1, 3}


def test_no_pair_of_texts_is_missed() -> None:
    rng = random.Random(0)
    words = ["film", "was", "great", "boring", "the", "plot", "actor", "music", "long", "very"]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(300)]

    def shingles(text: str) -> set[str]:
        form = text.replace(" ", "")
        return {form[start : start + 4] for start in range(max(1, len(form) - 3))}

    sets = [shingles(text) for text in texts]
    expected = {
        (one, other)
        for one in range(100)
        for other in range(100, 300)
        if len(sets[one] & sets[other]) >= 0.8 * len(sets[one] | sets[other])
    }
    overlap = text_overlap(texts[:100], texts[100:])
    assert overlap.nearest.keys() == {one for one, _ in expected}
    assert overlap.others == {other - 100 for _, other in expected}
    assert expected


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes whose test part has one picture of the training part, made lighter."""
    root = tmp_path_factory.mktemp("pictures")
    for part, count in (("train", 10), ("val", 3), ("test", 5)):
        write_pictures(root / part, count, seed=count)
    photograph(7).save(root / "train" / "red" / "photograph.png")
    variants(photograph(7))["lighter"].save(root / "test" / "red" / "photograph.png")
    return root


@pytest.fixture
def train(menagerie_train: Train, tmp_path: Path, pictures: Path) -> Train:
    """`python -m training image` on them, in seconds."""
    scratch = ("--backbone", "small_cnn_plain", "--mode", "scratch", "--weights", "none", "--workers", 0)
    places = ("--output", tmp_path / "zoo", "--name", "colours", "--runs", tmp_path / "runs")
    small = ("--image-size", 16, "--epochs", 1)
    return lambda *options: menagerie_train("image", pictures, *scratch, *places, *small, *options)


def published(tmp_path: Path) -> Card:
    card = read_card(tmp_path / "zoo" / "colours" / "1" / "model.onnx")
    assert card is not None
    return card


def test_near_duplicates_are_told_in_the_run_the_report_and_the_card(train: Train, tmp_path: Path) -> None:
    result = train()
    assert result.exit_code == 0, result.stderr
    assert "such as 'test/red/photograph.png' (test) and 'train/red/photograph.png' (train)" in result.stderr
    assert published(tmp_path).test_metrics["near_duplicates"] == 1
    assert "accuracy_without_near_duplicates" in published(tmp_path).test_metrics
    (folder,) = (tmp_path / "runs" / "colours").iterdir()
    with (folder / "duplicates.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["item"], row["other_item"]) == ("test/red/photograph.png", "train/red/photograph.png")
    report = (folder / "report.html").read_text()
    assert "<figcaption>train/red/photograph.png</figcaption>" in report
    assert "Accuracy on the test part without them" in report


def test_near_duplicates_are_left_out_of_training_on_request(pictures: Path) -> None:
    resize = Resize(shorter_side_px=16, height_px=16, width_px=16)
    images = read_images(pictures, resize, console=Console(quiet=True))
    split = split_images(images, validation=0.2, test=0.2, seed=0)
    kept, duplicates = treat_image_duplicates(images, split, "drop")
    (left_out,) = set(split.train) - set(kept.train)
    assert images.items[left_out].name == "train/red/photograph.png"
    assert kept.test == split.test
    assert kept.description.endswith("; near-duplicates of held-out items left out: 1 of train")
    assert not duplicates.seen


def test_a_class_of_near_duplicates_alone_cannot_be_left_out(pictures: Path) -> None:
    images = read_images(pictures, Resize(height_px=16, width_px=16), console=Console(quiet=True))
    twins = [index for index, item in enumerate(images.items) if "photograph" in item.name]
    blue = [index for index, item in enumerate(images.items) if "blue" in item.name]
    (tested,) = (index for index in twins if images.items[index].part == "test")
    (trained,) = (index for index in twins if index != tested)
    with pytest.raises(DataError, match="all training items of the class 'red' are near-duplicates of held-out ones"):
        treat_image_duplicates(images, Split((trained, *blue), (), (tested,), ""), "drop")


def test_near_duplicates_are_refused_on_request(train: Train, tmp_path: Path) -> None:
    result = train("--duplicates", "error")
    assert result.exit_code == 2
    assert "near-duplicates of 1 test items in the train part" in result.stderr
    assert "pass --duplicates drop to train without these" in result.stderr
    assert not (tmp_path / "zoo").exists()


def test_duplicated_texts_are_left_out_of_training(menagerie_train: Train, tmp_path: Path) -> None:
    rows = [
        f"{word} number {number} of this film\t{label}"
        for number in range(100, 130)
        for label, word in enumerate(("awful", "great"))
    ]
    (tmp_path / "reviews.txt").write_text("\n".join([*rows, *["SAME, always!\t1", "same always\t1"] * 10]) + "\n")
    small = ("--embedding-size", 4, "--hidden-size", 4, "--epochs", 1, "--test-share", 0.2, "--duplicates", "drop")
    places = ("--output", tmp_path / "zoo", "--name", "reviews", "--runs", tmp_path / "runs")
    result = menagerie_train("text", tmp_path / "reviews.txt", *small, *places)
    assert result.exit_code == 0, result.stderr
    (folder,) = (tmp_path / "runs" / "reviews").iterdir()
    with (folder / "duplicates.csv").open() as file:
        found = list(csv.DictReader(file))
    assert any(row["item"].lower().startswith("same") and row["similarity"] == "1.000" for row in found)
    assert "Near-duplicates" in (folder / "report.html").read_text()
    card = read_card(tmp_path / "zoo" / "reviews" / "1" / "model.onnx")
    assert card
    assert card.calibration, "texts are calibrated like images"
    assert "near-duplicates of held-out items left out" in card.provenance.split
    same = ("always" in (row["item"]) for row in found if row["part"] == "test")
    assert any(same)
