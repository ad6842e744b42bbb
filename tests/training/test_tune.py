"""`python -m training tune`: a search that a kill does not hurt, and settings to train with at its end."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from rich.console import Console

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from tests.training.test_kfold import read_csv
from tests.training.test_series_training import weather, write_table
from tests.training.test_text_training import toy_reviews
from training.errors import SettingsError
from training.experiments.space import Choice, Range, read_space
from training.experiments.texts import TextTask
from training.experiments.tune import tune
from training.runs import TrainingRun, read_values
from training.settings import ImageSettings, TextSettings
from training.settings.experiments import ImageSearchSettings, TextSearchSettings

Train = Callable[..., Result]
SMALL = {"embedding_size": 4, "hidden_size": 4, "epochs": 2, "batch_size": 32, "learning_rate": 0.02}


class DyingConsole(Console):
    """The machine goes down when the second trial reports its first epoch."""

    trials = 0

    def print(self, *objects: Any, **options: Any) -> None:
        text = str(objects[0]) if objects else ""
        self.trials += text.startswith("\ntrial")
        if self.trials == 2 and text.startswith("epoch   1/"):
            raise RuntimeError("the machine went down")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.txt"
    path.write_text("".join(f"{text}\t{label}\n" for text, label in toy_reviews(80)), encoding="utf-8")
    return path


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[None]:
    """One item for each call of a function, which does what it did."""
    module, _, function = name.rpartition(".")
    plain, calls = getattr(importlib.import_module(module), function), list[None]()

    def counted(*arguments: object, **named: object) -> object:
        calls.append(None)
        return plain(*arguments, **named)

    monkeypatch.setattr(name, counted)
    return calls


def settings_for(reviews: Path, **more: object) -> TextSearchSettings:
    values = {"data": [reviews], "runs": reviews.parent / "runs", "device": "cpu", **SMALL, **more}
    return TextSearchSettings.model_validate(values)


def test_a_killed_search_goes_on_as_if_it_had_not_been(menagerie_train: Train, tmp_path: Path, reviews: Path) -> None:
    search = ["learning_rate=1e-3..0.1:log", "hidden_size=4..8:2", "cell=rnn,gru"]
    settings = settings_for(reviews, search=search, trials=3, pruning=False)
    whole = tune(settings, TextTask(), Console(quiet=True))
    with pytest.raises(RuntimeError, match="went down"):
        tune(settings.model_copy(update={"name": "killed"}), TextTask(), DyingConsole())
    (killed,) = (tmp_path / "runs" / "killed").iterdir()
    result = menagerie_train("tune", "text", "--resume", killed, "--trials", 4)
    assert result.exit_code == 0, result.stderr
    assert "trial 2 of 4" in result.stderr
    assert "trial 1 of 4" not in result.stderr
    expected, got = (read_csv(folder / "trials.csv") for folder in (whole.folder, killed))
    assert got[:3] == expected
    assert len(got) == 4
    given = {"learning_rate": "0.02", "hidden_size": "4", "cell": "gru"}
    assert given.items() <= got[0].items()
    assert "1 (as given)" in result.stdout

    reviews.write_text(reviews.read_text() + "one more\t1\n")
    result = menagerie_train("tune", "text", "--resume", killed)
    assert result.exit_code == 2
    assert "the data are not those that the search in" in result.stderr
    reviews.write_text(reviews.read_text().removesuffix("one more\t1\n"))

    best = min(got, key=lambda row: float(row["log_loss"]))
    values = yaml.safe_load((killed / "best.yaml").read_text())
    assert (values["learning_rate"], values["cell"]) == (float(best["learning_rate"]), best["cell"])
    assert values["hidden_size"] == int(best["hidden_size"])
    with Image.open(killed / "search.png") as drawing:
        assert drawing.width > 400
    places = {"output": tmp_path / "zoo", "name": "reviews", "runs": tmp_path / "runs"}
    chosen = TextSettings.model_validate(read_values(killed / "best.yaml", TextSettings) | places)
    run = TrainingRun(chosen, Console(quiet=True))
    assert TextTask().validate(chosen, TextTask().read(chosen, run), run).metrics["log_loss"] == float(best["log_loss"])


def test_what_is_worse_than_the_others_is_given_up(reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count_calls(monkeypatch, "training.pipelines.duplicates.text_overlap")
    early = {"startup_trials": 1, "startup_epochs": 0}
    settings = settings_for(reviews, search=["learning_rate=0.02,1e-6", "kernel=2,3"], trials=6, epochs=3, **early)
    search = tune(settings, TextTask(), Console(quiet=True))
    reasons = {trial.reason.partition(":")[0] for trial in search.trials if trial.score is None}
    assert reasons == {"given up", "impossible"}
    for trial in search.trials:
        assert (len(trial.steps) == 3) == (trial.score is not None)
        assert trial.score is None or trial.values == {"learning_rate": 0.02, "kernel": 3}
    assert search.best is search.ranked[0]
    assert not list(search.folder.rglob("*.ckpt"))
    assert len(looks) == 3, "near-duplicates are looked for once, in three pairs of parts"


@pytest.mark.parametrize(
    "words", [("tune", "--search", "dropout=0..0.5"), ("ablate", "--without", "dropout"), ("kfold",)]
)
def test_an_experiment_without_data_leaves_no_folder(
    menagerie_train: Train, tmp_path: Path, words: tuple[str, ...]
) -> None:
    command, *options = words
    result = menagerie_train(command, "text", tmp_path / "missing.txt", *options, "--runs", tmp_path / "runs")
    assert result.exit_code == 2
    assert "missing.txt" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_images_and_series_are_searched(
    menagerie_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_calls(monkeypatch, "training.data.images.reading.sign_images")
    pictures = write_pictures(tmp_path / "pictures", 8)
    scratch = ("--backbone", "small_cnn", "--mode", "scratch", "--weights", "none", "--workers", 0, "--epochs", 1)
    space = tmp_path / "space.yaml"
    space.write_text("dropout: 0..0.5\nlearning_rate: 1e-4..1e-2:log\n")
    common = ("--trials", 2, "--runs", tmp_path / "runs")
    searched = ("--space", space, "--search", "dropout=0,0.2")
    result = menagerie_train("tune", "image", pictures, *scratch, *searched, *common)
    assert result.exit_code == 0, result.stderr
    assert "python -m training image --config" in result.stdout
    assert len(looks) == 1, "of all trials together"
    table = write_table(tmp_path / "weather.csv", weather(300))
    small = ("--target", "temperature", "--window", 24, "--horizon", 6, "--hidden-size", 4, "--epochs", 1)
    result = menagerie_train("tune", "series", table, *small, "--search", "window=24,400", *common, "--find-rate")
    assert result.exit_code == 0, result.stderr
    assert "impossible: the train part has 210 rows; window 400" in result.stderr
    assert (
        len(list((tmp_path / "runs" / "tune").glob("*/trials/*/*/rates.png"))) == result.stderr.count("rates.png") > 0
    )
    assert "mae scaled" in result.stdout


def test_a_space_is_understood(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("batch_size: [16, 32]\nflip: 0..0.5\n")
    search = [
        "learning-rate=1e-4..0.5e-1:log",
        "epochs=5..22:5",
        "augment=none,light",
        "decay_all",
        "flip=0,0.5",
    ]
    settings = ImageSearchSettings(data=Path("x"), space=space, search=search)
    assert read_space(settings, ImageSettings) == (
        Choice("batch_size", (16, 32)),
        Choice("flip", (0.0, 0.5)),
        Range("learning_rate", 1e-4, 0.05, log=True),
        Range("epochs", 5, 20, step=5, whole=True),
        Choice("augment", ("none", "light")),
        Choice("decay_all", (False, True)),
    )


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ([], "nothing to search: give --search SETTING=VALUES"),
        (["dropout"], "dropout is searched over which values? Write dropout= and LOW..HIGH"),
        (["dropuot=0..1"], "there is no setting 'dropuot'; did you mean dropout?"),
        (["dropout=0..2"], "--search dropout: 2.0 is impossible"),
        (["cell=gru,transformer"], "--search cell: transformer is impossible"),
        (["cell=gru..rnn"], "cell is no number; give its values as A,B,C"),
        (["hidden_size=4..8.5"], "hidden_size is a whole number"),
        (["learning_rate=0..1:log"], "the first number must be the smaller one, with log over 0"),
        (["learning_rate=a..b"], "learning_rate=a..b is not understood"),
        (["cell=gru"], "cell=gru is one value"),
        (["monitor=accuracy,log_loss"], "monitor is the same in all trainings"),
        (["seed=0..9"], "seed is the same in all trainings"),
    ],
)
def test_a_space_that_cannot_be_searched_is_told(reviews: Path, search: list[str], message: str) -> None:
    settings = settings_for(reviews, search=search)
    with pytest.raises(SettingsError) as caught:
        tune(settings, TextTask(), Console(quiet=True))
    assert message in str(caught.value)
    assert not settings.runs.exists()
    with pytest.raises(SettingsError, match=r"the search space nowhere.yaml cannot be read"):
        read_space(settings.model_copy(update={"space": Path("nowhere.yaml")}), TextSettings)
