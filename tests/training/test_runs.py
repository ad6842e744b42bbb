"""The run folder, `--config` and `--resume`."""

from __future__ import annotations

import csv
import hashlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from tests.training.published import QUIET, places
from tests.training.test_series_training import weather, write_table
from training.pipelines.image import train_image
from training.pipelines.series import train_series
from training.settings import ImageSettings, SeriesSettings

Train = Callable[..., Result]
TINY = {"backbone": "small_cnn", "mode": "scratch", "weights": "none", "workers": 0, "epochs": 3}


class InterruptingConsole(Console):
    """A terminal whose user presses Ctrl-C when the second epoch is reported."""

    def print(self, *objects: Any, **options: Any) -> None:
        if objects and str(objects[0]).startswith("epoch   2/"):
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 12)


@pytest.fixture
def config(tmp_path: Path, pictures: Path) -> Path:
    """A file with all that a run needs."""
    values = TINY | {"data": pictures, "output": tmp_path / "zoo", "name": "colours", "runs": tmp_path / "runs"}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({key.replace("_", "-"): str(value) for key, value in values.items()}))
    return path


def run_folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "runs" / "colours").iterdir())


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    return state


def test_a_run_folder_has_settings_split_metrics_and_checkpoints(
    menagerie_train: Train, tmp_path: Path, config: Path, pictures: Path
) -> None:
    result = menagerie_train("image", "--config", config, "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    (folder,) = run_folders(tmp_path)
    names = {entry.name for entry in folder.iterdir()}
    assert names >= {"settings.yaml", "split.csv", "metrics.csv", "tensorboard", "best.ckpt", "last.ckpt"}
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert (settings["epochs"], settings["mode"], settings["seed"]) == (1, "scratch", 0)
    rows = read_csv(folder / "split.csv")
    assert [row["part"] for row in rows].count("test") == 4
    for row in rows:
        assert row["label"] == row["name"].split("/")[0]
        assert row["sha256"] == hashlib.sha256((pictures / row["name"]).read_bytes()).hexdigest()
    assert [row["epoch"] for row in read_csv(folder / "metrics.csv")] == ["1"]
    assert list((folder / "tensorboard").glob("events*"))


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(menagerie_train: Train, tmp_path: Path, config: Path) -> None:
    assert menagerie_train("image", "--config", config).exit_code == 0
    (whole,) = run_folders(tmp_path)
    settings = ImageSettings.model_validate(yaml.safe_load((whole / "settings.yaml").read_text()))
    assert train_image(settings, console=InterruptingConsole()).fit.interrupted
    _, parts = run_folders(tmp_path)
    result = menagerie_train("image", "--resume", parts)
    assert result.exit_code == 0, result.stderr
    assert "3 epochs" in result.stdout
    assert "published colours version 3" in result.stdout
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[key])


def test_a_stream_that_was_interrupted_goes_on_as_if_it_had_not_been(menagerie_train: Train, tmp_path: Path) -> None:
    settings = SeriesSettings(
        data=write_table(tmp_path / "weather.csv", weather(250)),
        target=["temperature"],
        feature=["sun"],
        name="colours",
        stateful=True,
        cell="lstm",
        layers=2,
        dropout=0.3,
        recurrent_dropout=0.3,
        window=12,
        horizon=2,
        hidden_size=4,
        epochs=3,
        averaging="ema",
        **places(tmp_path),
    )
    train_series(settings, console=QUIET)
    assert train_series(settings, console=InterruptingConsole()).fit.interrupted
    whole, parts = run_folders(tmp_path)
    result = menagerie_train("series", "--resume", parts)
    assert result.exit_code == 0, result.stderr
    assert "3 epochs" in result.stdout
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[key])


def test_other_data_or_settings_are_refused_when_a_run_goes_on(
    menagerie_train: Train, tmp_path: Path, config: Path, pictures: Path
) -> None:
    assert menagerie_train("image", "--config", config, "--epochs", 1).exit_code == 0
    (folder,) = run_folders(tmp_path)
    result = menagerie_train("image", "--resume", folder, "--epochs", 9)
    assert "--resume goes on with the settings of the run; leave out --epochs" in " ".join(result.stderr.split())
    Image.new("RGB", (40, 40), "teal").save(pictures / "red" / "003.jpg")
    result = menagerie_train("image", "--resume", folder)
    assert result.exit_code == 2
    assert "the content of red/003.jpg is another one" in result.stderr
    (pictures / "red" / "003.jpg").rename(pictures / "blue" / "103.jpg")
    assert "red/003.jpg is missing" in menagerie_train("image", "--resume", folder).stderr
    stderr = menagerie_train("image", "--resume", tmp_path).stderr
    assert "is not the folder of a run: it has no settings.yaml" in stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learnig_rate: 0.1", "has the unknown key 'learnig_rate'; did you mean learning_rate?"),
        ("zzz: 1", "has the unknown key 'zzz'; known are"),
        ("epochs: many", "--epochs: Input should be a valid integer"),
        ("- epochs", "holds a list; write one `name: value` per line"),
        ("epochs: [1", "is not YAML"),
        ("epochs: 3", "DATA is missing; give it here or in the file of --config"),
        ("data: here", "--output is missing"),
    ],
)
def test_a_config_file_that_cannot_be_used_is_told_by_key(
    menagerie_train: Train, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "run.yaml").write_text(text)
    result = menagerie_train("image", "--config", tmp_path / "run.yaml")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_single_value_serves_as_a_list(menagerie_train: Train, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("target: load\ndata: nowhere.csv\noutput: zoo\nname: load\n")
    result = menagerie_train("series", "--config", tmp_path / "run.yaml")
    assert "nowhere.csv" in result.stderr
    assert "--target" not in result.stderr


def test_help_shows_what_a_task_needs_first(menagerie_train: Train) -> None:
    text = menagerie_train("image", "--help").stdout
    places = [
        text.index(heading) for heading in ("Arguments", "Images and network", "Run and published", "Training loop")
    ]
    assert places == sorted(places)
    assert (
        places[1] < text.index("--backbone") < places[2] < text.index("--resume") < places[3] < text.index("--epochs")
    )
