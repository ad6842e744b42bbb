"""The fitted answers beside a result: logistic regression, gradient boosting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.data.series.windows import Windows
from training.data.texts.parts import TextPart, TextParts
from training.evaluation.boosting import boosted_forecaster
from training.evaluation.forecasts import forecast_report, naive_forecasters
from training.evaluation.logistic import Labelled, logistic_accuracy_on_features, logistic_accuracy_on_texts
from training.models.backbones import make_backbone
from training.pipelines.image import train_image
from training.settings import ImageSettings
from zoo.package import read_card

Train = Callable[..., Result]


def separable(count: int, seed: int) -> Labelled:
    """Two of five features, of very different size, decide among three classes."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (count, 5)) * np.array([1e-3, 1, 1e4, 1, 1])
    classes = np.digitize(features[:, 0] / 1e-3 + features[:, 2] / 1e4, [-0.8, 0.8])
    return Labelled(features, classes.tolist())


def test_logistic_regression_on_features_of_any_scale() -> None:
    parts = [separable(count, seed) for seed, count in enumerate((400, 100, 300))]
    assert logistic_accuracy_on_features(*parts) > 0.9


def test_logistic_regression_on_texts_knows_pairs_of_words() -> None:
    rows = [(f"it is {word} film {number}", label) for number in range(40) for label, word in enumerate(PAIRS)]

    def part(first: int, last: int) -> TextPart:
        texts, classes = zip(*rows[first:last], strict=True)
        return TextPart(texts, classes)

    parts = TextParts(("bad", "good"), part(0, 60), part(60, 70), part(70, 80), "", "", "")
    assert logistic_accuracy_on_texts("words", parts) == 1


PAIRS = ("not a good but a", "a good but not a")
"""The same words in another order."""


def test_gradient_boosting_learns_what_no_lag_shows() -> None:
    rng = np.random.default_rng(0)
    hours = np.arange(900)
    load = 50 + 10 * np.sin(2 * np.pi * hours / 24) * (1 + (hours // 24) % 2) + rng.normal(0, 0.3, 900)
    table = np.stack([load, hours % 24], 1).astype(np.float32)
    train, validation, test = (Windows(part, 48, 6, 1) for part in np.split(table, [600, 750]))
    boosted = forecast_report(boosted_forecaster(train, validation, [1, 24]), test.batches(64))
    naive = naive_forecasters({"yesterday": 24, "last": 1}, horizon=6, targets=1)
    errors = {name: forecast_report(rule, test.batches(64)).mae_of(0) for name, rule in naive.items()}
    assert boosted.mae.shape == (6, 1)
    assert boosted.mae_of(0) < 0.35 * min(errors.values())


def test_images_are_compared_by_features_of_the_initial_weights(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 10)
    torch.manual_seed(0)
    save_file(make_backbone("small_cnn", 7).network.state_dict(), tmp_path / "initial.safetensors")
    places = {"data": tmp_path / "pictures", "output": tmp_path / "zoo", "runs": tmp_path / "runs", "name": "colours"}
    options = {"backbone": "small_cnn", "weights": str(tmp_path / "initial.safetensors"), "workers": 0, "epochs": 1}
    settings = ImageSettings.model_validate(places | options | {"head_epochs": 1, "image_size": 16})
    outcome = train_image(settings, console=Console(quiet=True))
    assert outcome.baselines.keys() == {"majority", "logistic_regression_on_features"}
    assert outcome.card.test_metrics["logistic_regression_on_features_accuracy"] == 1
    assert outcome.card.test_metrics["majority_accuracy"] == 0.5


def test_the_table_of_a_forecaster(menagerie_train: Train, tmp_path: Path) -> None:
    rows = [f"2024-01-{1 + hour // 24:02} {hour % 24:02}:00,{10 + hour % 7}" for hour in range(200)]
    (tmp_path / "load.csv").write_text("\n".join(["time,load", *rows]) + "\n")
    places = ("--output", tmp_path / "zoo", "--name", "load", "--runs", tmp_path / "runs")
    small = ("--window", 10, "--horizon", 2, "--epochs", 1, "--hidden-size", 4)
    result = menagerie_train("series", tmp_path / "load.csv", "--target", "load", *places, *small)
    assert result.exit_code == 0, result.stderr
    assert "gradient boosting" in result.stdout
    card = read_card(tmp_path / "zoo" / "load" / "1" / "model.onnx")
    assert card
    assert card.test_metrics["gradient_boosting_mae"] < card.test_metrics["last_value_mae"]
