"""`python -m training ablate`: what each ingredient gives, on one split, with several seeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from tests.training.test_kfold import read_csv
from tests.training.test_text_training import toy_reviews
from training.evaluation.repeats import repeated
from training.experiments.ingredients import read_ingredient
from training.models.backbones import make_backbone
from training.settings import ImageSettings, SeriesSettings
from training.settings.experiments import ImageAblationSettings, SeriesAblationSettings

Train = Callable[..., Result]
SMALL = ("--embedding-size", 4, "--hidden-size", 4, "--epochs", 2, "--batch-size", 32, "--learning-rate", 0.01)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.txt"
    path.write_text("".join(f"{text}\t{label}\n" for text, label in toy_reviews(80)), encoding="utf-8")
    return path


def test_the_table_says_what_each_ingredient_gives(menagerie_train: Train, tmp_path: Path, reviews: Path) -> None:
    left_out = ("--without", "dropout+token_dropout", "--without", "learning-rate=1e-5", "--seeds", 2)
    result = menagerie_train("ablate", "text", reviews, *left_out, *SMALL, "--runs", tmp_path / "runs")
    assert result.exit_code == 0, result.stderr
    for words in ("everything", "without dropout+token_dropout", "mean of 2 seeds", "the test part was not looked at"):
        assert words in result.stdout
    (folder,) = (tmp_path / "runs" / "ablate").iterdir()
    scores = {row["trial"]: float(row["log_loss"]) for row in read_csv(folder / "scores.csv")}
    assert len(scores) == 6
    contributions = read_csv(folder / "contributions.csv")
    (slow,) = (row for row in contributions if row["ingredient"] == "learning-rate=1e-5")
    gains = [scores[f"without-learning-rate-1e-5-seed-{seed}"] - scores[f"everything-seed-{seed}"] for seed in (0, 1)]
    expected = repeated(gains)
    assert float(slow["gain"]) == expected.mean > 0  # a log loss is better when it is lower
    assert (float(slow["gain_low"]), float(slow["gain_high"])) == expected.interval
    assert [float(row["gain"]) for row in contributions] == sorted(
        (float(r["gain"]) for r in contributions), reverse=True
    )
    splits = {path.read_text() for path in folder.glob("trials/*/*/split.csv")}
    assert len(splits) == 1
    assert scores["everything-seed-0"] != scores["everything-seed-1"]
    (second,) = folder.glob("trials/everything-seed-1/*/settings.yaml")
    assert {"seed: 1", "split_seed: 0"} <= set(second.read_text().splitlines())  # so that --config repeats it

    shutil.rmtree(folder / "trials" / "everything-seed-1")  # as if the machine had gone down before it
    result = menagerie_train("ablate", "text", "--resume", folder)
    assert result.exit_code == 0, result.stderr
    assert read_csv(folder / "contributions.csv") == contributions


def test_what_diverges_without_an_ingredient_is_told(menagerie_train: Train, tmp_path: Path, reviews: Path) -> None:
    options = ("--without", "weight_decay=1e30", "--seeds", 2, *SMALL, "--epochs", 1, "--runs", tmp_path / "runs")
    result = menagerie_train("ablate", "text", reviews, *options)
    assert result.exit_code == 0, result.stderr
    assert "without weight_decay=1e30 (2 of 2 diverged)" in result.stdout
    (folder,) = (tmp_path / "runs" / "ablate").iterdir()
    assert [row["diverged"] for row in read_csv(folder / "contributions.csv")] == ["2"]
    assert len(read_csv(folder / "scores.csv")) == 2


@pytest.fixture
def of_images(tmp_path: Path) -> tuple[object, ...]:
    """The command for a network that begins with weights of another one."""
    torch.manual_seed(0)
    save_file(make_backbone("small_cnn", 7).network.state_dict(), tmp_path / "tiny.safetensors")
    network = ("--backbone", "small_cnn", "--weights", tmp_path / "tiny.safetensors", "--head-epochs", 1)
    small = ("--epochs", 1, "--seeds", 1, "--workers", 0, "--runs", tmp_path / "runs")
    return ("ablate", "image", write_pictures(tmp_path / "pictures", 8), *network, *small)


def test_weights_are_left_out_with_the_mode(
    menagerie_train: Train, tmp_path: Path, of_images: tuple[object, ...]
) -> None:
    result = menagerie_train(*of_images, "--without", "mode=scratch+weights=none")
    assert result.exit_code == 0, result.stderr
    loaded, _, without = result.stderr.partition("\nwithout mode=scratch+weights=none: trainings 2 to 2 of 2")
    assert "weights loaded from tiny.safetensors" in loaded
    assert "weights loaded" not in without
    (folder,) = (tmp_path / "runs" / "ablate").iterdir()
    assert [row["trial"] for row in read_csv(folder / "scores.csv")] == [
        "everything-seed-0",
        "without-mode-scratch-weights-none-seed-0",
    ]


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("mode=scratch", "without mode=scratch: --mode scratch starts from random weights; pass --weights none"),
        ("weights=none", "without weights=none: --mode finetune begins with trained weights"),
        ("weights", "nothing stands for no weights; say what takes its place: --without weights=VALUE"),
    ],
)
def test_weights_that_the_mode_needs_cannot_be_left_out(
    menagerie_train: Train, tmp_path: Path, of_images: tuple[object, ...], without: str, message: str
) -> None:
    result = menagerie_train(*of_images, "--without", without)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("label_smoothing", "without label_smoothing: it is left out already"),
        ("hidden_size", "nothing stands for no hidden_size; say what takes its place: --without hidden_size=VALUE"),
        ("kernel=2", "without kernel=2: kernel 2 has no middle; take an odd number"),
        ("cell=transformer", "without cell=transformer: cell: Input should be 'rnn', 'lstm' or 'gru'"),
        ("dropuot", "there is no setting 'dropuot'; did you mean dropout?"),
        ("seed=1", "seed is the same in all trainings of an experiment"),
        ("cell=[rnn", "the value [rnn is not understood"),
        ("licence=MIT", "there is no setting 'licence'"),
    ],
)
def test_what_cannot_be_left_out_is_told(
    menagerie_train: Train, tmp_path: Path, reviews: Path, without: str, message: str
) -> None:
    result = menagerie_train("ablate", "text", reviews, "--without", without, "--runs", tmp_path / "runs")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "runs").exists()


def test_nothing_is_told_by_the_kind_of_setting() -> None:
    images = ImageAblationSettings(data=Path("x"), without=["flip"], averaging="ema", clip_norm=1, decay_all=True)
    for name, nothing in {
        "flip": 0,
        "augment": "none",
        "averaging": "none",
        "clip_norm": None,
        "decay_all": False,
    }.items():
        assert read_ingredient(name, images, ImageSettings).without == {name: nothing}
    series = SeriesAblationSettings(data=Path("x"), without=["x"], target=["a"], feature=["b"], calendar="hour")
    found = read_ingredient("feature + calendar", series, SeriesSettings)
    assert found.without == {"feature": [], "calendar": ""}
    assert found.trial == "without-feature-calendar"
