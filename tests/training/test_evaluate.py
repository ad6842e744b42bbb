"""`python -m training evaluate`: published models on data sets, through ONNX Runtime and through a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.service.conftest import serving
from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.evaluation.classification import ClassificationReport
from training.evaluation.estimates import classifier_estimates, forecast_estimates
from zoo.package import read_card
from zoo.repository import MODEL_FILE, publish

Train = Callable[..., Result]


@pytest.fixture
def folder(published_folder: Path) -> Path:
    return published_folder


def text_of(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


@pytest.mark.parametrize(
    ("model", "data", "metric"),
    [
        ("colours/1", "colours", "accuracy"),
        ("moods/1", "moods.tsv", "accuracy"),
        ("weather/1/model.onnx", "weather.csv", "mae"),
        ("stream", "weather.csv", "mae"),
    ],
)
def test_the_test_part_is_found_again(
    menagerie_train: Train, folder: Path, tmp_path: Path, model: str, data: str, metric: str
) -> None:
    result = menagerie_train("evaluate", folder / "zoo" / model, folder / data, "--result", tmp_path / "result.json")
    assert result.exit_code == 0, result.stderr
    values = json.loads((tmp_path / "result.json").read_text())
    name = model.partition("/")[0]
    card = read_card(folder / "zoo" / name / "1" / "model.onnx")
    assert card
    assert values["metrics"][metric]["value"] == pytest.approx(card.test_metrics[metric], rel=1e-3)
    assert values["metrics"][metric]["low"] <= values["metrics"][metric]["value"] <= values["metrics"][metric]["high"]
    count = card.test_metrics.get("test_items", card.test_metrics.get("test_windows"))
    assert f"on the test part of the data that {name} was trained on: {count:.0f} " in text_of(result)
    assert values["data_sha256"] == card.provenance.data_sha256
    assert values["latency_ms"] > 0


async def test_a_server_gives_the_same(menagerie_train: Train, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("server_difference: {at_most: 0.001}\nserver_other_answers: {at_most: 0}\n")
    async with serving(folder / "zoo") as calls:
        for model, *rest in (
            ("colours/1", "colours"),
            ("colours/1", "colours", "--server-tensors"),
            ("moods", "moods.tsv"),
            ("weather/1", "weather.csv"),
        ):
            data, *options = rest
            arguments = (folder / "zoo" / model, folder / data, "--result", tmp_path / "result.json", *options)
            where = ("--server", calls.server.address, "--gate", tmp_path / "gate.yaml")
            result = await asyncio.to_thread(menagerie_train, "evaluate", *arguments, *where)
            assert result.exit_code == 0, result.stderr
            values = json.loads((tmp_path / "result.json").read_text())
            assert [check["passed"] for check in values["gate"]] == [True, True]
            assert values["server"]["other_answers"] == 0
            assert values["server"]["largest_difference"] < 1e-4
            for name, metric in values["metrics"].items():
                assert values["server"]["metrics"][name]["value"] == pytest.approx(metric["value"], rel=1e-4)
        result = await asyncio.to_thread(menagerie_train, "evaluate", *arguments, *where, "--server-name", "unknown")
        assert result.exit_code == 2
        assert "gives no answer for unknown version 1: NOT_FOUND" in text_of(result)
        short = asyncio.to_thread(menagerie_train, "evaluate", *arguments, *where, "--server-name", "moods")
        assert "gives no answer for moods version 1: INVALID_ARGUMENT" in text_of(await short)
    result = menagerie_train("evaluate", *arguments, "--server", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "the server 127.0.0.1:1 gives no answer for weather version 1: UNAVAILABLE" in text_of(result)


def test_other_data(menagerie_train: Train, folder: Path, tmp_path: Path) -> None:
    """Labels are found by name, in whatever order; what the model does not know is refused by name."""
    reds = write_pictures(tmp_path / "others", 3, ("red", "blue"), seed=1)
    result = menagerie_train("evaluate", folder / "zoo" / "colours", reds)
    assert "on all of the data that colours was not trained on: 6 images" in text_of(result)
    (tmp_path / "few.tsv").write_text("text\tlabel\na lovely film\tgood\n")
    result = menagerie_train("evaluate", folder / "zoo" / "moods", tmp_path / "few.tsv")
    assert "on all of the data that moods was not trained on: 1 texts" in text_of(result)
    write_pictures(reds, 1, ("green",))
    (tmp_path / "few.tsv").write_text("text\tlabel\na lovely film\tsuperb\n")
    (tmp_path / "short.csv").write_text("\n".join((folder / "weather.csv").read_text().splitlines()[:20]))
    for arguments, message in {
        ("colours", reds): "the data have the label 'green'; 'colours' knows blue, red",
        ("moods", tmp_path / "few.tsv"): "the data have the label 'superb'; 'moods' knows bad, good",
        ("weather/1", tmp_path / "short.csv"): "one forecast of this model takes 27",
        ("moods", tmp_path / "none.tsv"): "none.tsv cannot be read",
        ("nothing", reds): "cannot be read as a model repository",
        ("weather", folder / "weather.csv", "--against", folder / "zoo" / "moods"): "is for text_classification",
        ("stream", folder / "weather.csv", "--server", "x:1"): "keeps state from step to step",
        ("moods", folder / "moods.tsv", "--result", tmp_path / "no" / "a.json"): "make it first",
        ("moods", folder / "moods.tsv", "--result", tmp_path): "is a folder; name a file",
    }.items():
        model, *others = arguments
        result = menagerie_train("evaluate", folder / "zoo" / str(model), *others)
        assert result.exit_code == 2, message
        assert message in text_of(result)
        assert not result.stdout, "nothing was measured"
    result = menagerie_train("evaluate", folder / "zoo" / "weather", tmp_path / "short.csv", "--part", "test")
    assert result.exit_code == 2


def test_two_models_on_the_same_items(menagerie_train: Train, folder: Path, tmp_path: Path) -> None:
    model = folder / "zoo" / "moods" / "1"
    result = menagerie_train("evaluate", model, folder / "moods.tsv", "--against", folder / "zoo" / "moods")
    assert result.exit_code == 0, result.stderr
    assert "over moods 2: accuracy" in result.stdout
    assert "(McNemar's exact test)" in result.stdout
    assert "another split" not in result.stderr
    card = read_card(model / MODEL_FILE)
    assert card
    origin = card.provenance.model_copy(update={"settings": card.provenance.settings | {"split_seed": 1}})
    data = (model / MODEL_FILE).read_bytes()
    other = publish(data, card.model_copy(update={"provenance": origin}), tmp_path, "moods")
    result = menagerie_train("evaluate", model, folder / "moods.tsv", "--against", other.path)
    assert "moods was trained on another split of these data: it may have learnt" in text_of(result)
    assert "accuracy +0.0000" in result.stdout
    models = [folder / "zoo" / name for name in ("weather", "stream")]
    result = menagerie_train("evaluate", models[0], folder / "weather.csv", "--against", models[1])
    assert result.exit_code == 0, result.stderr
    assert "over stream 1: scaled MAE, less by" in text_of(result)


def test_intervals_of_a_classifier() -> None:
    """They are those of other test parts of the same size."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        targets = rng.integers(0, 3, 150)
        truth = rng.uniform(0.2, 0.9, 150)
        probabilities = np.repeat(((1 - truth) / 2)[:, None], 3, axis=1)
        probabilities[np.arange(150), targets] = truth
        values.append(classifier_estimates(_report(probabilities.astype(np.float32), targets)))
    for name in ("accuracy", "macro_f1", "log_loss"):
        centre = np.mean([value[name].value for value in values])
        inside = [value[name].interval.low <= centre <= value[name].interval.high for value in values]
        assert 0.9 < np.mean(inside) < 0.99, name


def test_intervals_of_a_forecaster_know_that_neighbours_are_alike() -> None:
    rng = np.random.default_rng(0)
    smooth = np.convolve(rng.normal(size=2000), np.ones(24) / 24, "same")
    errors = smooth[:, None, None].astype(np.float32)
    blocks = forecast_estimates(errors, ["load"], [2.0])["mae"]
    alone = forecast_estimates(rng.permutation(errors), ["load"], [2.0])["mae"]
    assert blocks.value == pytest.approx(alone.value)
    assert blocks.interval.high - blocks.interval.low > 2 * (alone.interval.high - alone.interval.low)
    assert forecast_estimates(errors[:10], ["load"], [2.0])["mae"].interval is None
    both = forecast_estimates(np.repeat(errors, 2, axis=2), ["a", "b"], [2.0, 2.0], np.full((1, 2), 10.0))
    assert both["interval_coverage_b"].value == 1
    assert both["mae_scaled"].value == pytest.approx(both["mae_a"].value / 2)


def _report(probabilities: np.ndarray, targets: np.ndarray) -> ClassificationReport:
    from training.evaluation.classification import classification_report
    from zoo.card import LOGITS

    logits = np.log(probabilities)
    return classification_report(lambda _: {LOGITS: logits}, [({}, targets.tolist())])
