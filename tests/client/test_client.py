"""The client class against a real server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from PIL import Image

from service.client import Client, History, PredictionError, Reading


@pytest.fixture
def client(address: str):  # type: ignore[no-untyped-def]
    with Client(address) as client:
        yield client


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def test_images_come_back_labelled_in_order(client: Client) -> None:
    answers = client.classify_images("shades", [png(250), png(5), png(240)], top_k=1)
    assert [answer.classes[0].label for answer in answers] == ["bright", "dark", "bright"]
    assert all(len(answer.classes) == 1 for answer in answers)
    assert (answers[0].model, answers[0].version) == ("shades", 1)


def test_texts_are_scored_best_first(client: Client) -> None:
    (answer,) = client.classify_texts("moods", ["good"])
    assert [item.label for item in answer.classes] == ["glad", "sad"]
    assert [item.index for item in answer.classes] == [1, 0]
    assert sum(item.probability for item in answer.classes) == pytest.approx(1)
    assert answer.version == 3


def test_a_forecast_continues_the_times(client: Client) -> None:
    end = datetime(2024, 2, 28, 23, tzinfo=UTC)
    history = History({"temperature": [1, 2, 3, 4], "load": [10.0, 20.0, 30.0, 40.5]}, end)
    forecast, without = client.forecast("load", [history, History(history.columns)])
    assert forecast.values == {"load": (40.5, 40.5)}
    assert forecast.times == (end + timedelta(hours=1), end + timedelta(hours=2))
    assert without.times == ()


def test_a_stream_of_readings(client: Client) -> None:
    start = datetime(2024, 2, 28, 20, tzinfo=UTC)
    rows = [Reading({"temperature": 1, "load": 10.0 * hour}, start + timedelta(hours=hour)) for hour in range(5)]
    answers = list(client.forecast_stream("load", rows))
    assert answers[:2] == [None, None]
    assert [answer.values["load"] for answer in answers[2:] if answer] == [(20, 20), (30, 30), (40, 40)]
    last = answers[-1]
    assert last
    assert last.times == (start + timedelta(hours=5), start + timedelta(hours=6))


def test_an_error_ends_a_stream_of_readings(client: Client) -> None:
    answers = client.forecast_stream("load", [Reading({"temperature": 1, "load": 2}), Reading({"load": 2})])
    assert next(answers) is None
    with pytest.raises(PredictionError, match="temperature") as error:
        next(answers)
    assert error.value.code == "INVALID_ARGUMENT"


def test_models_are_listed_and_described(client: Client) -> None:
    assert [(item.model.name, item.model.version) for item in client.list_models()] == [
        ("load", 1),
        ("moods", 3),
        ("shades", 1),
    ]
    described = client.get_model("load")
    assert [feature.unit for feature in described.forecast.features] == ["MW", "C"]
    assert described.licence == "Apache-2.0"


def test_an_error_names_every_bad_item(client: Client) -> None:
    with pytest.raises(PredictionError) as error:
        client.classify_images("shades", [png(1), b"no image", png(2), b""])
    assert error.value.code == "INVALID_ARGUMENT"
    assert {place: reason for place, (reason, _) in error.value.violations.items()} == {
        1: "IMAGE_INVALID",
        3: "IMAGE_EMPTY",
    }


def test_an_unknown_model_is_named_with_what_there_is(client: Client) -> None:
    with pytest.raises(PredictionError, match="no model 'cats'; the server has load, moods, shades") as error:
        client.classify_texts("cats", ["x"])
    assert (error.value.code, error.value.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")


def test_no_server_is_said_with_the_way_out() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(PredictionError, match="menagerie-serve") as error:
        client.classify_texts("moods", ["x"])
    assert error.value.reason == "SERVER_UNREACHABLE"


def test_what_the_readings_raise_is_raised(client: Client) -> None:
    def readings() -> Iterator[Reading]:
        for _ in range(3):
            yield Reading({"temperature": 1, "load": 10.0})
        raise grpc.RpcError("the sensor does not answer")  # of another server, say

    answers = client.forecast_stream("load", readings())
    assert [next(answers) is None for _ in range(3)] == [True, True, False]
    with pytest.raises(grpc.RpcError, match="the sensor does not answer"):
        next(answers)
