"""Forecasts row by row: of a model that keeps state, and of one that needs a window."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from menagerie.v1 import model_pb2
from menagerie.v1.prediction_service_pb2 import ForecastStreamRequest, ForecastStreamResponse, Reading
from tests import cards, graphs
from tests.service.calls import Calls, failure, history
from tests.service.conftest import Serve
from zoo.card import Golden, GoldenSample
from zoo.repository import publish

GOLDEN = Golden(samples=(GoldenSample(history=((1, 20), (2, 20)), expected=(3, 3)),))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forecaster that keeps the total of what it saw, and one that reads the newest of three rows."""
    folder = tmp_path_factory.mktemp("forecasters")
    publish(graphs.stateful_forecast_graph(), cards.stateful_card(GOLDEN), folder, "total")
    publish(graphs.forecast_graph(), cards.forecast_card(), folder, "load")
    return folder


@pytest.fixture
async def calls(serve: Serve, models: Path) -> Calls:
    """A server with the forecasters."""
    return await serve(models)


def message(load: float | None = None, *, model: str = "", **values: float) -> ForecastStreamRequest:
    """The model, a reading, or both."""
    request = ForecastStreamRequest(model=model_pb2.ModelRef(name=model) if model else None)
    if load is not None:
        request.reading.CopyFrom(Reading(values={"load": load, "temperature": 20.0} | values))
    return request


async def stream(calls: Calls, *messages: ForecastStreamRequest) -> list[ForecastStreamResponse]:
    """All answers to a stream that ends."""
    return [response async for response in calls.predictions.ForecastStream(iter(messages))]


def values(responses: Sequence[ForecastStreamResponse]) -> list[list[float]]:
    """The forecast load after each row."""
    return [list(response.forecast.columns[0].values) for response in responses]


async def until_forgotten(calls: Calls) -> None:
    """Wait until the server keeps no state."""
    for _ in range(500):
        if not await calls.metric("menagerie_sequences", model="total"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the state is still there")


async def test_state_is_kept_from_row_to_row(calls: Calls) -> None:
    answers = await stream(calls, message(model="total"), message(1), message(2), message(4))
    assert values(answers) == [[1, 1], [3, 3], [7, 7]]
    assert {(answer.model.name, answer.model.version, answer.missing_readings) for answer in answers} == {
        ("total", 1, 0)
    }
    assert await calls.metric("menagerie_sequences", model="total") == 0


async def test_the_first_message_may_bring_a_row(calls: Calls) -> None:
    assert values(await stream(calls, message(5, model="total"), message(6))) == [[5, 5], [11, 11]]


async def test_streams_side_by_side_never_see_each_other(calls: Calls) -> None:
    async def one(load: float) -> list[list[float]]:
        return values(await stream(calls, message(model="total"), *[message(load)] * 20))

    answers = await asyncio.gather(*(one(load) for load in range(1, 9)))
    assert answers == [[[load * step] * 2 for step in range(1, 21)] for load in range(1, 9)]


async def test_a_window_fills_before_the_first_forecast(calls: Calls) -> None:
    answers = await stream(calls, message(model="load"), *(message(load) for load in (1, 2, 3, 4)))
    assert [answer.missing_readings for answer in answers] == [2, 1, 0, 0]
    assert [answer.HasField("forecast") for answer in answers] == [False, False, True, True]
    assert values(answers[2:]) == [[3, 3], [4, 4]]


async def test_times_of_the_rows(calls: Calls) -> None:
    row = message(1, model="total")
    row.reading.time.FromDatetime(datetime(2024, 5, 1, 12, tzinfo=UTC))
    (answer,) = await stream(calls, row)
    assert [time.ToDatetime(UTC).hour for time in answer.forecast.times] == [13, 14]


@pytest.mark.parametrize(
    ("messages", "reason", "text"),
    [
        ([message(1)], "MODEL_NAME_MISSING", "model.name is empty"),
        ([message(model="nobody")], "MODEL_NOT_FOUND", "no model 'nobody'"),
        ([message(1, model="total"), message(1, model="total")], None, "only the first message names the model"),
        ([message(model="total"), message()], "NO_READING", "the message has no reading"),
        ([message(float("nan"), model="total")], "SERIES_NOT_FINITE", "load"),
        ([message(1, model="total", wind=3)], None, "wind"),
        (
            [ForecastStreamRequest(model=model_pb2.ModelRef(name="total"), reading=Reading(values={"load": 1}))],
            None,
            "temperature",
        ),
    ],
)
async def test_a_wrong_message_ends_the_stream(
    calls: Calls, messages: list[ForecastStreamRequest], reason: str | None, text: str
) -> None:
    got = await failure(stream(calls, *messages))
    assert text in got.message
    assert got.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert reason in (None, got.info.reason)


async def test_answers_before_an_error_arrive(calls: Calls) -> None:
    messages = [message(1, model="total"), message(2), message(float("inf"))]
    call = calls.predictions.ForecastStream(iter(messages))
    assert values([await call.read(), await call.read()]) == [[1, 1], [3, 3]]
    assert (await failure(call.read())).info.reason == "SERIES_NOT_FINITE"
    await until_forgotten(calls)


async def test_a_broken_stream_leaves_nothing_behind(calls: Calls) -> None:
    async def forever() -> AsyncIterator[ForecastStreamRequest]:
        yield message(1, model="total")
        await asyncio.Event().wait()

    call = calls.predictions.ForecastStream(forever())
    assert values([await call.read()]) == [[1, 1]]
    assert await calls.metric("menagerie_sequences", model="total") == 1
    call.cancel()
    await until_forgotten(calls)


async def test_an_open_stream_keeps_its_state_however_long_it_is_silent(serve: Serve, models: Path) -> None:
    calls = await serve(models, sequence_idle_seconds=0.01)

    async def slowly() -> AsyncIterator[ForecastStreamRequest]:
        yield message(1, model="total")
        await asyncio.sleep(0.1)
        yield message(2)

    assert values([answer async for answer in calls.predictions.ForecastStream(slowly())]) == [[1, 1], [3, 3]]


async def test_a_model_with_state_takes_no_histories(calls: Calls) -> None:
    got = await failure(calls.forecast(history([1]), model="total"))
    assert (got.info.reason, got.message) == (
        "TASK_MISMATCH",
        "model 'total' keeps state from row to row; call ForecastStream",
    )


async def test_the_golden_samples_of_a_model_with_state_are_checked(serve: Serve, tmp_path: Path) -> None:
    wrong = Golden(samples=(GoldenSample(history=((1, 20), (2, 20)), expected=(9, 9)),))
    publish(graphs.stateful_forecast_graph(), cards.stateful_card(wrong), tmp_path, "total")
    calls = await serve(tmp_path)
    (entry,) = calls.server.table.entries()
    assert "golden sample 0: forecast is [3, 3], the card expects [9, 9]" in entry.reason


async def test_a_state_that_is_not_in_the_graph(serve: Serve, tmp_path: Path) -> None:
    card = cards.stateful_card(state=[cards.STATE | {"output": "later"}])
    publish(graphs.stateful_forecast_graph(), card, tmp_path, "total")
    calls = await serve(tmp_path)
    (entry,) = calls.server.table.entries()
    assert entry.reason == "state output 'later' is not in the graph"
