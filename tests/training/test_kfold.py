"""`python -m training kfold`: each item is validated once, the test part never, and nothing is done twice."""

from __future__ import annotations

import csv
import hashlib
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from tests.training.test_series_training import weather, write_table
from tests.training.test_text_training import toy_reviews
from training.errors import DataError, SettingsError, StoppedError
from training.evaluation.repeats import repeated
from training.experiments.images import ImageTask
from training.experiments.kfold import kfold
from training.experiments.texts import TextTask
from training.models.backbones import make_backbone
from training.settings import ImageSettings, SeriesSettings, TextSettings
from training.settings.experiments import ImageFoldSettings, TextFoldSettings
from zoo import BUNDLED

Train = Callable[..., Result]


class ImpatientConsole(Console):
    """A terminal whose user presses Ctrl-C when the second fold reports its first epoch."""

    folds = 0

    def print(self, *objects: Any, **options: Any) -> None:
        text = str(objects[0]) if objects else ""
        self.folds += text.startswith("\nfold")
        if self.folds == 2 and text.startswith("epoch   1/"):
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def settings(tmp_path: Path) -> TextFoldSettings:
    """Three folds of 72 reviews; 8 more are the test part."""
    reviews = tmp_path / "reviews.txt"
    reviews.write_text("".join(f"{text} {i}\t{label}\n" for i, (text, label) in enumerate(toy_reviews(80))))
    small = {"embedding_size": 4, "hidden_size": 4, "epochs": 2, "batch_size": 16}
    return TextFoldSettings(data=[reviews], runs=tmp_path / "runs", folds=3, device="cpu", **small)


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def folder_of(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "runs" / "kfold").iterdir()
    return folder


def test_each_text_beside_the_test_part_is_validated_once(settings: TextFoldSettings) -> None:
    outcome = kfold(settings, TextTask(), Console(quiet=True))
    every = {line.partition("\t")[0] for line in settings.data[0].read_text().splitlines()}
    validated = Counter(answer["item"] for answer in outcome.answers)
    assert set(validated.values()) == {1}
    assert len(validated) == 72
    assert len(every - set(validated)) == 8  # the test part
    assert Counter((answer["fold"], answer["label"]) for answer in outcome.answers) == {
        (str(fold), label): 12 for fold in (1, 2, 3) for label in "01"
    }
    hits = sum(answer["label"] == answer["answer"] for answer in outcome.answers)
    assert outcome.pooled
    assert outcome.pooled[0] == hits / 72
    assert outcome.means["accuracy"].mean == pytest.approx(hits / 72)  # folds of equal size
    assert not list(outcome.folder.rglob("*.ckpt"))


def test_what_is_finished_is_not_done_again(settings: TextFoldSettings, tmp_path: Path) -> None:
    whole = kfold(settings, TextTask(), Console(quiet=True))
    parts = settings.model_copy(update={"name": "parts"})
    with pytest.raises(StoppedError, match=r"stopped in fold-2; nothing is lost: go on with --resume .*parts"):
        kfold(parts, TextTask(), ImpatientConsole())
    (folder,) = (tmp_path / "runs" / "parts").iterdir()
    first = folder / "trials" / "fold-1" / "score.json"
    written = first.stat().st_mtime_ns
    again = parts.model_copy(update={"resume": folder})
    resumed = kfold(again, TextTask(), Console(quiet=True))
    assert resumed.answers == whole.answers
    assert (folder / "folds.csv").read_text() == (whole.folder / "folds.csv").read_text()
    assert first.stat().st_mtime_ns == written
    (one_training,) = (folder / "trials" / "fold-1").glob("*/")
    with pytest.raises(SettingsError, match=r"is one training of an experiment; give .*parts"):
        kfold(parts.model_copy(update={"resume": one_training}), TextTask(), Console(quiet=True))
    settings.data[0].write_text(settings.data[0].read_text() + "one more\t1\n")
    with pytest.raises(DataError, match="the data are not those that fold-1"):
        kfold(again, TextTask(), Console(quiet=True))


def test_a_fold_is_not_trained_on_twins_of_what_it_validates(settings: TextFoldSettings) -> None:
    twin = "so wonderful that we saw it twice in one week"
    settings.data[0].write_text(settings.data[0].read_text() + f"{twin}\t1\n" * 3)
    dropped = settings.model_copy(update={"duplicates": "drop", "epochs": 1})
    outcome = kfold(dropped, TextTask(), Console(quiet=True))
    assert sum(answer["item"] == twin for answer in outcome.answers) == 3  # none is of the test part
    sha256 = hashlib.sha256(twin.encode()).hexdigest()
    for fold in {answer["fold"] for answer in outcome.answers if answer["item"] == twin}:
        (split,) = (outcome.folder / "trials" / f"fold-{fold}").glob("*/split.csv")
        assert {row["part"] for row in read_csv(split) if row["sha256"] == sha256} == {"validation"}


def test_images_are_validated_once(menagerie_train: Train, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 10)
    scratch = ["--backbone", "small_cnn", "--mode", "scratch", "--weights", "none", "--workers", 0, "--epochs", 1]
    result = menagerie_train("kfold", "image", pictures, *scratch, "--folds", 2, "--runs", tmp_path / "runs")
    assert result.exit_code == 0, result.stderr
    for words in ("fold-2", "mean", "Wilson", "the test part was not looked at"):
        assert words in result.stdout
    names = sorted(row["item"] for row in read_csv(folder_of(tmp_path) / "predictions.csv"))
    assert len(names) == len(set(names)) == 16  # of 20; 4 are the test part
    result = menagerie_train("kfold", "image", "--resume", folder_of(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert "epoch" not in result.stderr
    result = menagerie_train("kfold", "image", pictures, *scratch, "--folds", 9, "--runs", tmp_path / "runs")
    assert result.exit_code == 2
    assert "class 'blue' has 8 item(s) beside the test part, too few for 9 folds" in result.stderr


@pytest.mark.parametrize("options", [(), ("--stateful",)], ids=["windows", "stream"])
def test_forecasts_are_validated_on_the_time_after(
    menagerie_train: Train, tmp_path: Path, options: tuple[object, ...]
) -> None:
    table = write_table(tmp_path / "weather.csv", weather(400))
    small = ("--window", 24, "--horizon", 6, "--hidden-size", 4, "--epochs", 1, "--batch-size", 32)
    chosen = ("--target", "temperature", "--folds", 3, "--runs", tmp_path / "runs", *small, *options)
    result = menagerie_train("kfold", "series", table, *chosen)
    assert result.exit_code == 0, result.stderr
    rows = read_csv(folder_of(tmp_path) / "predictions.csv")
    assert Counter(row["fold"] for row in rows) == {str(fold): 80 - 6 + 1 for fold in (1, 2, 3)}  # 320 rows in 4
    sizes = []
    for fold in (1, 2, 3):
        (split,) = (folder_of(tmp_path) / "trials" / f"fold-{fold}").glob("*/split.csv")
        sizes.append([row["label"] for row in read_csv(split)])
    assert [train for train, _, _ in sizes] == [f"{80 * fold - 29} windows" for fold in (1, 2, 3)]
    assert {test for _, _, test in sizes} == {"75 windows"}  # of 80 rows, the same in each
    assert "mae scaled" in result.stdout
    assert "Wilson" not in result.stdout
    result = menagerie_train("kfold", "series", table, *chosen, "--folds", 20)
    assert result.exit_code == 2
    assert "the training part of fold 1 has 20 rows; window 24 and horizon 6 need 30" in result.stderr


def test_what_publishes_is_no_option_but_a_file_of_settings_may_have_it(menagerie_train: Train, tmp_path: Path) -> None:
    text = menagerie_train("kfold", "text", "--help").stdout
    assert "--folds" in text
    assert "--output" not in text
    (tmp_path / "run.yaml").write_text("data: nowhere.txt\noutput: zoo\nname: x\nlicence: MIT\n")
    result = menagerie_train("kfold", "text", "--config", tmp_path / "run.yaml", "--runs", tmp_path / "runs")
    assert result.exit_code == 2
    assert "nowhere.txt cannot be read" in result.stderr
    tasks = (ImageSettings, TextSettings, SeriesSettings)
    assert TextFoldSettings.hidden <= {name for kind in tasks for name in kind.model_fields}  # none was renamed
    with pytest.raises(ValueError, match="an experiment trains from new weights; leave out from_model"):
        TextFoldSettings(data=[Path("nowhere.txt")], from_model=BUNDLED / "sentiment-en")
    result = menagerie_train("kfold", "text", "--resume", tmp_path)
    assert "is not the folder of a run: it has no settings.yaml" in result.stderr


def test_mean_and_interval_of_a_few_measurements() -> None:
    t = 3.182446  # of any table, 3 degrees of freedom: 95 % lie between -t and t
    measured = np.array([0.9, 0.92, 0.85, 0.88])
    half = t * measured.std(ddof=1) / 2
    mean, interval, _ = repeated(measured.tolist())
    assert (mean, *(interval or ())) == pytest.approx((0.8875, 0.8875 - half, 0.8875 + half), abs=1e-6)
    assert repeated((measured - 0.8875 + half).tolist()).p_value == pytest.approx(0.05, abs=1e-6)
    assert repeated([0.5]) == (0.5, None, None)
    assert repeated([0.0, 0.0]).p_value == 1.0


class ForgetfulConsole(Console):
    """A terminal at which somebody removes the features that are kept before each fold begins."""

    def __init__(self, runs: Path) -> None:
        super().__init__(quiet=True)
        self.runs, self.said = runs, list[str]()

    def print(self, *objects: Any, **options: Any) -> None:
        text = str(objects[0]) if objects else ""
        self.said.append(text)
        if text.startswith("\nfold"):
            for folder in self.runs.glob("*/*/trials/features"):
                shutil.rmtree(folder)


def test_features_of_a_frozen_backbone_are_computed_once_for_all_folds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(make_backbone("mobilenet_v2", 2, image_size=32).network.state_dict(), tmp_path / "weights.safetensors")
    settings = ImageFoldSettings(
        data=write_pictures(tmp_path / "pictures", 24),
        mode="freeze",
        weights=str(tmp_path / "weights.safetensors"),
        image_size=32,
        runs=tmp_path / "runs",
        folds=2,
        epochs=2,
        learning_rate=0.01,
        workers=0,
        device="cpu",
    )
    consoles = {"kept": ForgetfulConsole(tmp_path / "nowhere"), "anew": ForgetfulConsole(tmp_path / "runs")}
    folds = {name: kfold(settings.model_copy(update={"name": name}), ImageTask(), consoles[name]) for name in consoles}
    for one, other in zip(*(outcome.folds for outcome in folds.values()), strict=True):
        assert one.metrics == other.metrics  # bit by bit
    assert folds["kept"].answers == folds["anew"].answers
    computed = {name: 4 - sum("part from" in line for line in console.said) for name, console in consoles.items()}
    assert computed == {"kept": 2, "anew": 4}  # in the first fold those of both parts
