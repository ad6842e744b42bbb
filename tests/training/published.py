"""Small published models that several tests share: what is done with them is under test, not how they were trained."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.console import Console

from tests.training.pictures import write_pictures
from training.pipelines.image import train_image
from training.pipelines.series import train_series
from training.pipelines.text import train_text
from training.settings import ImageSettings, SeriesSettings, TextSettings
from zoo.card import Golden
from zoo.package import read_card
from zoo.repository import ModelVersion, publish

QUIET = Console(quiet=True)


def publish_all(folder: Path) -> None:
    """Write all data, and publish a model of each, a worse second version of it, and a forecaster of streams."""
    write_colours(folder)
    write_moods(folder)
    write_weather(folder)
    for version in (colours(folder), moods(folder), forecaster(folder)):
        spoil(version)
    forecaster(folder, name="stream", stateful=True)


def spoil(version: ModelVersion) -> ModelVersion:
    """Publish the same with noise in its weights, which costs no training."""
    model, card, rng = onnx.load(version.path), read_card(version.path), np.random.default_rng(0)
    assert card is not None
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1:
            noisy = (values * rng.normal(1, 0.3, values.shape)).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(noisy, tensor.name))
    card = card.model_copy(update={"golden": Golden()})
    return publish(model.SerializeToString(), card, version.path.parents[2], version.name)


def write_colours(folder: Path) -> Path:
    """Images of two colours."""
    return write_pictures(folder / "colours", 20)


def write_moods(folder: Path) -> Path:
    """Sentences of two moods, with some that are mislabelled."""
    words = {"good": ("fine", "lovely", "great", "superb"), "bad": ("awful", "dull", "poor", "weak")}
    rows = [
        f"a {word} film number {number}\t{('bad' if label == 'good' else 'good') if number % 7 == 0 else label}"
        for number in range(20)
        for label in words
        for word in words[label]
    ]
    path = folder / "moods.tsv"
    path.write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_weather(folder: Path) -> Path:
    """Hourly temperature and sun."""
    rng, hours = np.random.default_rng(0), np.arange(500)
    day = 2 * np.pi * hours / 24
    temperature = 290 + 5 * np.sin(day) + rng.normal(0, 0.5, 500)
    sun = 100 + 100 * np.sin(day + 1)
    start = datetime(2024, 1, 1)
    rows = [
        f"{start + timedelta(hours=int(h))},{t:.3f},{s:.3f}" for h, t, s in zip(hours, temperature, sun, strict=True)
    ]
    path = folder / "weather.csv"
    path.write_text("\n".join(["when,temperature,sun", *rows]) + "\n")
    return path


def colours(folder: Path, **options: Any) -> ModelVersion:
    """A classifier of `write_colours`."""
    tiny = {"backbone": "small_cnn", "mode": "scratch", "weights": "none", "image_size": 16, "workers": 0, "epochs": 1}
    values = tiny | {"data": folder / "colours", "name": "colours", "augment": "none", "cam": True} | options
    return train_image(ImageSettings(**places(folder) | values), console=QUIET).published


def moods(folder: Path, **options: Any) -> ModelVersion:
    """A classifier of `write_moods`."""
    tiny = {"embedding_size": 4, "hidden_size": 4, "min_count": 1, "epochs": 1, "test_share": 0.3}
    values = tiny | {"data": [folder / "moods.tsv"], "name": "moods"} | options
    return train_text(TextSettings(**places(folder) | values), console=QUIET).published


def forecaster(folder: Path, **options: Any) -> ModelVersion:
    """A forecaster of `write_weather`."""
    tiny = {"window": 24, "horizon": 3, "hidden_size": 4, "epochs": 1, "target": ["temperature"], "feature": ["sun"]}
    values = tiny | {"data": folder / "weather.csv", "name": "weather"} | options
    return train_series(SeriesSettings(**places(folder) | values), console=QUIET).published


def places(folder: Path) -> dict[str, Any]:
    """Settings of every run here: where it writes, and on what it computes."""
    return {"output": folder / "zoo", "runs": folder / "runs", "device": "cpu", "baselines": False}
