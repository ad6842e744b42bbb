"""`--from-model`: runs that go on from a published model, and old against new."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.errors import WeightsError
from training.models.adoption import adopt_weights
from training.pipelines.published.succession import compare_with_origin
from training.runs import SETTINGS_FILE, read_manifest, read_values
from training.settings import TextSettings
from zoo.card import LOGITS, Card
from zoo.golden import Tensors, golden_inputs
from zoo.package import read_card
from zoo.repository import MODEL_FILE, ModelVersion
from zoo.runtime import make_run, open_session

Train = Callable[..., Result]
STILL = ("--epochs", 1, "--learning-rate", 1e-12, "--weight-decay", 0)
"""A training that changes next to nothing, so that what the new model knows is what the old one knew."""


@pytest.fixture
def folder(published_folder: Path, tmp_path: Path) -> Path:
    """The published models and their runs, to be added to."""
    for name in ("zoo", "runs", "colours"):
        shutil.copytree(published_folder / name, tmp_path / name)
    for name in ("moods.tsv", "weather.csv"):
        shutil.copy(published_folder / name, tmp_path)
    return tmp_path


def version(folder: Path, name: str, number: int) -> tuple[Path, Card]:
    path = folder / "zoo" / name / str(number) / MODEL_FILE
    card = read_card(path)
    assert card is not None
    return path, card


def answers(folder: Path, name: str, number: int, inputs: Tensors, output: str) -> Any:
    return make_run(open_session(version(folder, name, number)[0]))(inputs)[output]


def table(folder: Path, name: str) -> dict[str, Any]:
    """Old against new, of the newest run."""
    newest = max((folder / "runs" / name).iterdir(), key=lambda run: run.stat().st_mtime)
    values: dict[str, Any] = json.loads((newest / "old-against-new.json").read_text())
    return values


def test_images_of_another_size_are_compared_as_each_model_takes_them(menagerie_train: Train, folder: Path) -> None:
    options = ("--runs", folder / "runs", "--no-baselines", "--image-size", 32, *STILL)
    result = menagerie_train("image", folder / "colours", "--from-model", folder / "zoo" / "colours" / "1", *options)
    assert result.exit_code == 0, result.stderr
    assert version(folder, "colours", 3)[1].provenance.settings["image_size"] == 32
    assert table(folder, "colours")["old"] == "colours 1"


def test_images_with_a_class_more(menagerie_train: Train, folder: Path) -> None:
    before = (folder / "zoo" / "colours" / "1" / MODEL_FILE).read_bytes()
    write_pictures(folder / "colours", 20, ("green",))
    write_pictures(folder / "colours", 30, ("blue", "red"), seed=1)
    options = ("--runs", folder / "runs", "--batch-norm", "frozen", "--no-calibrate", "--no-baselines", *STILL)
    result = menagerie_train("image", folder / "colours", "--from-model", folder / "zoo" / "colours" / "1", *options)
    assert result.exit_code == 0, result.stderr
    assert "going on from colours 1" in result.stderr
    _, card = version(folder, "colours", 3)
    assert (folder / "zoo" / "colours" / "1" / MODEL_FILE).read_bytes() == before
    assert card.task.labels == ("blue", "green", "red")
    assert card.provenance.weights_source.startswith("colours 1 (colours/")
    assert card.provenance.settings["image_size"] == 16
    inputs = golden_inputs(card)
    new, old = (answers(folder, "colours", number, inputs, LOGITS) for number in (3, 1))
    calibration = version(folder, "colours", 1)[1].calibration
    assert calibration
    np.testing.assert_allclose(new[:, [0, 2]], old * calibration.temperature, rtol=1e-3, atol=1e-3)
    values = table(folder, "colours")
    assert (values["old"], values["new"], values["metric"]) == ("colours 1", "colours 3", "accuracy")
    rows = {row["items"]: row for row in values["rows"]}
    assert rows["of labels that both know"]["count"] < rows["all"]["count"]
    assert "the new one is better by" in result.stdout


def test_texts_that_the_old_model_has_seen_do_not_count(menagerie_train: Train, folder: Path) -> None:
    """The first data once more, split by another seed: only what was in both test parts is new to both."""
    options = ("--runs", folder / "runs", "--split-seed", 5, "--no-calibrate", "--no-baselines", *STILL)
    model = folder / "zoo" / "moods" / "1"
    result = menagerie_train("text", folder / "moods.tsv", "--from-model", model, *options)
    assert result.exit_code == 0, result.stderr
    _, card = version(folder, "moods", 3)
    inputs = golden_inputs(card)
    calibration = version(folder, "moods", 1)[1].calibration
    assert calibration
    new, old = (answers(folder, "moods", number, inputs, LOGITS) for number in (3, 1))
    np.testing.assert_allclose(new, old * calibration.temperature, rtol=1e-3, atol=1e-3)
    values = table(folder, "moods")
    (row,) = values["rows"]
    assert row["items"] == "new to both"
    assert row["count"] + values["left_out"] == card.test_metrics["test_items"]
    assert row["old"] == row["new"]
    assert f"{values['left_out']} test items were used to train moods 1; they do not count" in result.stdout

    # Once more, from the new one: what the first had learnt from does not count either.
    result = menagerie_train(
        "text", folder / "moods.tsv", "--from-model", folder / "zoo" / "moods" / "3", *options, "--split-seed", 9
    )
    assert result.exit_code == 0, result.stderr
    runs = [folder / "runs" / version(folder, "moods", number)[1].provenance.run for number in (1, 3, 4)]
    first, second, third = ({row.sha256 for row in read_manifest(run) if row.part == "test"} for run in runs)
    assert third & second & first < third & second
    assert table(folder, "moods")["left_out"] == len(third - (second & first))

    # Where the first one is gone, that is said.
    shutil.rmtree(folder / "zoo" / "moods" / "1")
    settings = TextSettings.model_validate(read_values(runs[2] / SETTINGS_FILE, TextSettings))
    last = ModelVersion("moods", 4, version(folder, "moods", 4)[0])
    console = Console(file=io.StringIO(), width=400)
    assert compare_with_origin(settings, settings.data, last, runs[2], console).left_out == len(third - second)
    assert isinstance(console.file, io.StringIO)
    assert "items that moods 3 had learnt from before its own run are not known" in console.file.getvalue()


def test_forecasts(menagerie_train: Train, folder: Path) -> None:
    lines = (folder / "weather.csv").read_text().splitlines()
    (folder / "longer.csv").write_text("\n".join([*lines, "2024-01-22 00:00:00,291,120"]) + "\n")
    model = folder / "zoo" / "weather" / "1"
    result = menagerie_train("series", folder / "longer.csv", "--from-model", model, "--runs", folder / "runs", *STILL)
    assert result.exit_code == 0, result.stderr
    values = table(folder, "weather")
    (row,) = values["rows"]
    assert (values["metric"], row["items"]) == ("mae_scaled", "all forecasts")
    assert row["old"][0] == pytest.approx(row["new"][0], rel=1e-4)


def test_what_cannot_go_on_is_said(menagerie_train: Train, folder: Path) -> None:
    zoo, runs = folder / "zoo", ("--runs", folder / "runs")
    write_pictures(folder / "two", 8, ("green", "red"))
    (folder / "renamed.csv").write_text((folder / "weather.csv").read_text().replace("sun", "wind", 1))
    for arguments, message in (
        (("image", folder / "two", "--from-model", zoo / "colours", *runs), "the data have no 'blue', which the model"),
        (("image", folder / "two", "--from-model", zoo / "moods", *runs), "is for text_classification, not for image"),
        (("image", folder / "two", "--from-model", zoo / "none", *runs), "cannot be read as a model repository"),
        (
            ("text", folder / "moods.tsv", "--from-model", zoo / "moods", "--runs", folder / "elsewhere"),
            "name the folder of its runs with --runs",
        ),
        (
            ("text", folder / "moods.tsv", "--from-model", zoo / "moods", *runs, "--hidden-size", 5),
            "leave out what changes the network",
        ),
        (
            ("series", folder / "renamed.csv", "--from-model", zoo / "weather", *runs, "--feature", "wind"),
            "was trained on the columns temperature, sun, not temperature, wind",
        ),
        (
            ("compare", folder / "colours", "--from-model", zoo / "colours", *runs),
            "from_model goes on with one model",
        ),
    ):
        result = menagerie_train(*arguments)
        assert result.exit_code == 2, message
        assert message in " ".join(result.stderr.split())
    assert len(list((zoo / "colours").iterdir())) == 2


def test_rows_go_to_their_class() -> None:
    before, now = nn.Linear(3, 2), nn.Linear(3, 4)
    fresh = now.weight.detach().clone()
    adopt_weights(now, before.state_dict(), ["cat", "dog"], ["ape", "dog", "cow", "cat"])
    torch.testing.assert_close(now.weight[[3, 1]], before.weight)
    torch.testing.assert_close(now.weight[[0, 2]], fresh[[0, 2]])
    torch.testing.assert_close(now.bias[[3, 1]], before.bias)
    with pytest.raises(WeightsError, match="the labels are in another order, dog, cat instead of cat, dog"):
        adopt_weights(nn.Linear(3, 2), before.state_dict(), ["cat", "dog"], ["dog", "cat"])
    with pytest.raises(WeightsError, match=r"weight is \[4, 2\] now and was \[2, 3\]"):
        adopt_weights(nn.Linear(2, 4), before.state_dict(), ["cat", "dog"], ["cat", "dog", "cow", "ape"])
