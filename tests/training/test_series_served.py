"""A trained forecaster on the server: a file of a user in, a forecast with its interval out."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import grpc
import numpy as np
import pytest
from rich.console import Console

from menagerie.v1 import model_pb2
from menagerie.v1 import prediction_service_pb2 as prediction
from menagerie.v1.prediction_service_pb2 import Reading
from service.client import Client, Forecast
from service.client.batches import Outcome
from service.client.inputs import Target, series_job
from service.client.render import forecast_table, to_json
from tests.service.conftest import serving
from tests.training.published import QUIET, places
from tests.training.test_series_training import weather, write_table
from training.pipelines.series import SeriesOutcome, train_series
from training.settings.series import SeriesSettings
from zoo.card import SeriesTask


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> SeriesOutcome:
    """A run that published the model `weather`, of two targets, a category and the hour."""
    folder = tmp_path_factory.mktemp("weather")
    columns = weather(400)
    columns["wind"] = np.where(columns["sun"] > 100, "SE", "NW")
    settings = SeriesSettings(
        data=write_table(folder / "weather.csv", columns),
        target=["temperature", "sun"],
        category=["wind"],
        calendar="hour",
        name="weather",
        window=24,
        horizon=3,
        hidden_size=4,
        epochs=1,
        coverage=0.8,
        **places(folder),
    )
    return train_series(settings, console=QUIET)


async def ask(outcome: SeriesOutcome) -> tuple[Forecast, float]:
    """What `menagerie-predict --series weather.csv` gets, and what the model says that it covers."""
    repository = outcome.published.path.parents[2]

    def call(address: str) -> tuple[Forecast, float]:
        with Client(address) as client:
            job = series_job(client, Target("weather"), [repository.parent / "weather.csv"])
            (answer,) = job.call([item.load() for item in job.items])
            assert isinstance(answer, Forecast)
            return answer, client.get_model("weather").forecast.interval_coverage

    async with serving(repository) as calls:
        return await asyncio.to_thread(call, calls.server.address)


async def test_intervals_are_as_wide_as_the_card_says(outcome: SeriesOutcome) -> None:
    assert isinstance(outcome.card.task, SeriesTask)
    interval = outcome.card.task.interval
    assert interval
    forecast, coverage = await ask(outcome)
    assert (forecast.coverage, coverage) == (0.8, pytest.approx(0.8))
    for index, name in enumerate(("temperature", "sun")):
        half_widths = np.array(interval.half_widths)[:, index]
        np.testing.assert_allclose(np.subtract(forecast.upper[name], forecast.values[name]), half_widths, rtol=1e-3)
        np.testing.assert_allclose(np.subtract(forecast.values[name], forecast.lower[name]), half_widths, rtol=1e-3)
        assert outcome.card.test_metrics[f"interval_coverage_{name}"] == pytest.approx(0.8, abs=0.25)


async def test_people_and_scripts_see_them(outcome: SeriesOutcome) -> None:
    forecast, _ = await ask(outcome)
    line = json.loads(to_json(Outcome("weather.csv", forecast)))
    assert line["lower"]["sun"][0] < line["forecast"]["sun"][0] < line["upper"]["sun"][0]
    assert line["coverage"] == 0.8
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(forecast_table("weather.csv", forecast))
    text = console.export_text()
    assert text.count("80% interval") == 2
    assert f"{forecast.lower['sun'][2]:,.6g} to {forecast.upper['sun'][2]:,.6g}" in text


async def test_the_hour_is_that_of_the_newest_row(outcome: SeriesOutcome) -> None:
    sample = outcome.card.golden.samples[0]
    assert sample.history
    names = [feature.name for feature in outcome.card.task.features]
    columns = dict(zip(names, np.array(sample.history).T, strict=True))
    hours = columns.pop("time:hour")
    history = prediction.History(columns=[prediction.Column(name=name, values=v) for name, v in columns.items()])
    async with serving(outcome.published.path.parents[2]) as calls:
        with pytest.raises(grpc.aio.AioRpcError, match="send the time of the newest row") as error:
            await calls.forecast(history, model="weather")
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        history.end_time.FromDatetime(datetime(2024, 5, 1, int(hours[-1]), tzinfo=UTC))
        (table,) = (await calls.forecast(history, model="weather")).results
    got = np.array([column.values for column in table.columns]).T.ravel()
    np.testing.assert_allclose(got, sample.expected, rtol=1e-3, atol=outcome.card.golden.atol)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
async def test_a_stream_equals_the_model_over_all_rows(tmp_path: Path, cell: Literal["gru", "lstm"]) -> None:
    settings = SeriesSettings(
        data=write_table(tmp_path / "weather.csv", weather(500)),
        target=["temperature"],
        feature=["sun"],
        name="weather",
        stateful=True,
        cell=cell,
        layers=2,
        window=12,
        horizon=3,
        hidden_size=5,
        epochs=2,
        **places(tmp_path),
    )
    card = train_series(settings, console=QUIET).card
    (sample,) = card.golden.samples  # its answer is that of the torch model to all rows at once
    assert sample.history
    assert isinstance(card.task, SeriesTask)
    assert [part.shape for part in card.state] == [(2, 5)] * len(card.state)
    readings = [Reading(values={"temperature": row[0], "sun": row[1]}) for row in sample.history]
    first = prediction.ForecastStreamRequest(model=model_pb2.ModelRef(name="weather"))
    requests = [first, *(prediction.ForecastStreamRequest(reading=reading) for reading in readings)]
    async with serving(tmp_path / "zoo") as calls:
        answers = [answer async for answer in calls.predictions.ForecastStream(iter(requests))]
    assert len(answers) == len(readings)
    table = answers[-1].forecast
    np.testing.assert_allclose(table.columns[0].values, sample.expected, rtol=1e-3, atol=card.golden.atol)
    assert table.lower[0].values[0] < table.columns[0].values[0] < table.upper[0].values[0]
    assert card.test_metrics["mae"] < 2 * card.test_metrics["last_value_mae"]
