"""`python -m training series`: from a table to a model that forecasts; and what it says to bad data."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import Result
from zoo.card import Card, Quantity, SeriesTask
from zoo.golden import check_golden
from zoo.package import read_card
from zoo.runtime import make_run, open_session
from zoo.series import prepare_history
from zoo.tables import read_table

Train = Callable[..., Result]
SMALL = (
    *("--window", 48, "--horizon", 24, "--hidden-size", 8, "--epochs", 6, "--batch-size", 32),
    "--no-baselines",  # see test_baselines.py
)


def weather(hours: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A temperature with a day and a drift, and the sun that goes before it."""
    rng = np.random.default_rng(seed)
    day = 2 * np.pi * np.arange(hours) / 24
    drift = np.cumsum(rng.normal(0, 0.05, hours))
    return {
        "temperature": 290 + 5 * np.sin(day) + drift + rng.normal(0, 0.5, hours),
        "sun": 100 + 100 * np.sin(day + 1),
    }


def write_table(path: Path, columns: dict[str, np.ndarray], *, time: str = "when") -> Path:
    start = datetime(2024, 1, 1)
    rows = [",".join([time, *columns])] if time else [",".join(columns)]
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        stamp = [(start + timedelta(hours=index)).isoformat(" ")] if time else []
        rows.append(",".join([*stamp, *(value if isinstance(value, str) else f"{value:.3f}" for value in values)]))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "weather.csv", weather(800))


@pytest.fixture
def train(menagerie_train: Train, tmp_path: Path) -> Train:
    """`python -m training series` with a repository and a small network."""

    def run(*arguments: object) -> Result:
        where = ("--output", tmp_path / "zoo", "--name", "weather", "--runs", tmp_path / "runs")
        return menagerie_train("series", *where, *SMALL, *arguments)

    return run


def published(tmp_path: Path, version: int = 1) -> tuple[Path, Card]:
    path = tmp_path / "zoo" / "weather" / str(version) / "model.onnx"
    card = read_card(path)
    assert card is not None
    return path, card


def check_report(tmp_path: Path, *words: str) -> None:
    """The newest run has a report that says this and needs no other file."""
    text = max((tmp_path / "runs" / "weather").iterdir()).joinpath("report.html").read_text(encoding="utf-8")
    for word in (*words, "Forecasts", "Learning curves", "How it was made"):
        assert word in text, word
    assert text.count('src="data:image/png;base64,') >= 2
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


def test_a_trained_model_forecasts(train: Train, table: Path, tmp_path: Path) -> None:
    result = train(table, "--target", "temperature", "--unit", "temperature=K", "--epochs", 25, "--patience", 25)
    assert result.exit_code == 0, result.stderr
    for row in ("this model", "last value", "same time yesterday", "published weather version 1"):
        assert row in result.stdout
    check_report(
        tmp_path,
        "same time yesterday",
        "Windows evenly over the test part",
        "They should cover 90%",
        "temperature K",
        "Error over the horizon",
    )
    path, card = published(tmp_path)
    assert isinstance(card.task, SeriesTask)
    assert card.task.model_copy(update={"interval": None}) == SeriesTask(
        features=(Quantity(name="temperature", unit="K"),),
        targets=(Quantity(name="temperature", unit="K"),),
        window_steps=48,
        horizon_steps=24,
        step_seconds=3600,
    )
    counts = "560 train / 80 validation / 160 test rows"
    assert card.provenance.split == f"chronological: {counts}, test from 2024-01-27 16:00"
    mae = {name: card.test_metrics[f"{name}mae"] for name in ("", "same_time_yesterday_", "last_value_")}
    assert mae[""] < mae["same_time_yesterday_"] < mae["last_value_"]
    assert card.test_metrics["test_windows"] == 160 - 24 + 1
    assert card.task.interval
    assert card.task.interval.coverage == 0.9
    assert card.test_metrics["interval_coverage"] == pytest.approx(0.9, abs=0.2)
    assert "90% prediction intervals cover" in result.stdout
    assert card.reference["temperature"].mean == pytest.approx(290, abs=5)
    assert card.reference["temperature"].distribution
    run = make_run(open_session(path))
    assert check_golden(card, run) <= 1
    history = prepare_history({"temperature": read_table(table, ["temperature"]).values[:, 0]}, card.task)
    forecast = run({"history": history[None]})["forecast"]
    assert forecast.shape == (1, 24, 1)
    assert np.abs(forecast[0, :, 0] - history[-24:, 0]).max() < 5


@pytest.mark.parametrize(
    "options",
    [
        ("--cell", "lstm", "--layers", 2, "--segment", 6),
        ("--cell", "rnn", "--segment", 1, "--window", 7, "--horizon", 1),
        ("--window", 24, "--horizon", 30, "--season", 12),
        ("--network", "encoder_decoder", "--cell", "lstm", "--scaling", "minmax", "--moving-level=mean", "--horizon=5"),
        ("--network", "encoder_decoder", "--calendar", "hour,weekday", "--recurrent-dropout", 0.2, "--layers", 2),
    ],
    ids=["lstm in segments", "next step", "horizon over the window", "encoder and decoder", "calendar"],
)
def test_every_kind_of_network_is_published(
    train: Train, table: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    result = train(table, "--target", "temperature", "--epochs", 1, *options)
    assert result.exit_code == 0, result.stderr
    assert ("same time last season" in result.stdout) == ("--season" in options)
    if "--window" in options and options[-1] == 1:
        check_report(tmp_path, "One step ahead, the newest 200 windows")
    path, card = published(tmp_path)
    assert isinstance(card.task, SeriesTask)
    assert len(card.golden.samples[0].expected) == card.task.horizon_steps
    assert {"linear_mae", "last_value_mae", "mae_scaled"} <= card.test_metrics.keys()
    if "--calendar" in options:
        assert [feature.name for feature in card.task.features] == ["temperature", "time:hour", "time:weekday"]
        history = np.array([sample.history for sample in card.golden.samples], np.float32)
        run = make_run(open_session(path))
        expected = run({"history": history})["forecast"]
        np.testing.assert_allclose(
            run({"history": history + np.array([0, 24, 7], np.float32)})["forecast"], expected, rtol=1e-4
        )


def test_a_linear_map_from_the_last_value(train: Train, table: Path, tmp_path: Path) -> None:
    options = ("--network", "linear", "--moving-level", "last", "--epochs", 12, "--learning-rate", 0.01)
    result = train(table, "--target", "temperature", "--target", "sun", *options)
    assert result.exit_code == 0, result.stderr
    path, card = published(tmp_path)
    assert card.description == "temperature, sun for 24 steps from the last 48, linear"
    assert card.test_metrics["mae_temperature"] < card.test_metrics["same_time_yesterday_mae_temperature"]
    assert card.test_metrics["same_time_yesterday_mae_sun"] == 0  # a rule without errors is no reason to fail
    history = np.array(card.golden.samples[0].history, np.float32)[None]
    run = make_run(open_session(path))
    np.testing.assert_allclose(  # the forecast moves with the level
        run({"history": history + np.float32(30)})["forecast"], run({"history": history})["forecast"] + 30, atol=1e-2
    )


@pytest.mark.parametrize("options", [(), ("--shared", "--moving-level", "mean")], ids=["together", "one at a time"])
def test_several_targets_and_a_feature(train: Train, tmp_path: Path, options: tuple[object, ...]) -> None:
    columns = weather(500)
    columns = {"pressure": 1000 + columns["temperature"], "sun": columns["sun"], "temperature": columns["temperature"]}
    path = write_table(tmp_path / "weather.csv", columns)
    columns_wanted = ("--target", "temperature", "--target", "pressure", "--feature", "sun")
    result = train(path, *columns_wanted, *options, "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    assert "test errors of pressure" in result.stdout
    check_report(tmp_path, "<th>temperature</th>", "<th>pressure</th>", "all, in standard deviations")
    path, card = published(tmp_path)
    assert isinstance(card.task, SeriesTask)
    assert [feature.name for feature in card.task.features] == ["temperature", "pressure", "sun"]
    assert {"mae_temperature", "mae_pressure", "last_value_mae_pressure"} <= card.test_metrics.keys()
    history = np.stack([columns[name][:48] for name in ("temperature", "pressure", "sun")], 1).astype(np.float32)
    assert make_run(open_session(path))({"history": history[None]})["forecast"].shape == (1, 24, 2)


def test_an_untidy_table_is_mended_and_reported(train: Train, tmp_path: Path) -> None:
    columns = weather(400)
    columns["wind"] = np.where(columns["sun"] > 100, "SE", "NW")
    columns["wind"][-20:] = "N"  # a word that training never sees
    path = write_table(tmp_path / "weather.csv", columns)
    header, *rows = path.read_text().splitlines()
    rows[7] = rows[7].split(",")[0] + ",NA,1,SE"
    rows[9] = rows[9].split(",")[0] + ",-999,1,SE"
    path.write_text("\n".join([header, *rows[200:], *rows[:100], rows[3], *rows[102:200]]) + "\n")
    result = train(path, "--target", "temperature", "--category", "wind", "--sentinels", "-999", "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    for found, done in (
        ("rows are not in order of time", "sorted by time"),
        ("1 duplicated times", "averaged"),
        ("2 missing times", "interpolated"),
        ("1 missing values of temperature", "interpolated"),
        ("1 sentinel values of temperature", "interpolated"),
        ("3 words in wind", "one input each: NW, SE; not in the training part and left out: N"),
    ):
        assert any(found in line and done in line for line in result.stderr.splitlines()), found
    _, card = published(tmp_path)
    assert isinstance(card.task, SeriesTask)
    assert [feature.name for feature in card.task.features] == ["temperature", "wind=NW", "wind=SE"]
    assert card.reference["temperature"].min > 200


def test_a_table_without_times_needs_a_step(train: Train, tmp_path: Path) -> None:
    path = write_table(tmp_path / "bare.csv", weather(400), time="")
    result = train(path, "--target", "temperature")
    assert result.exit_code == 2
    assert "has no column of times; name it with --time-column or give --step-seconds" in result.stderr
    assert train(path, "--target", "temperature", "--step-seconds", 3600, "--epochs", 1).exit_code == 0


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (("--target", "humidity"), ["'humidity'", "temperature"]),
        (("--target", "temperature", "--horizon", 700), ["part has", "horizon 700", "shorten them"]),
        (("--target", "temperature", "--window", 100, "--segment", 7), ["segment 7 does not divide window 100"]),
        (("--target", "temperature", "--feature", "temperature"), ["'temperature' is named twice"]),
        (("--target", "temperature", "--calendar", "hour,moon"), ["'moon' is not known; choose from hour, weekday"]),
        (("--target", "temperature", "--stateful", "--network", "encoder_decoder"), ["leave out network and segment"]),
        (("--target", "temperature", "--network", "linear", "--calendar", "hour"), ["leave out calendar"]),
        (("--target", "temperature", "--unit", "rain=mm"), ["unit of 'rain'"]),
        (("--target", "temperature", "--time-column", "date"), ["'date'"]),
        (("--target", "still"), ["column 'still' is 3 in the whole training part"]),
        (("--target", "words"), ["line 2", "words is 'calm'"]),
        (("--target", "sun", "--category", "temperature"), ["'temperature' has", "different words", "leave it out"]),
        (("--target", "temperature", "--sentinels", "-999,x"), ["--sentinels", "'-999,x'"]),
        (("--target", "temperature", "--name", "../x"), ["cannot name a model"]),
    ],
)
def test_bad_choices_are_named(train: Train, tmp_path: Path, options: tuple[object, ...], messages: list[str]) -> None:
    path = write_table(tmp_path / "weather.csv", weather(800) | {"still": np.full(800, 3.0), "words": np.zeros(800)})
    path.write_text(path.read_text().replace("0.000\n", "calm\n", 1))
    result = train(path, *options)
    assert result.exit_code == 2
    for message in messages:
        assert message in result.stderr
    assert not (tmp_path / "zoo").exists()


def test_a_missing_file_is_named(train: Train, tmp_path: Path) -> None:
    result = train(tmp_path / "nowhere.csv", "--target", "x")
    assert result.exit_code == 2
    assert "nowhere.csv" in result.stderr
