"""The typed API over a real channel: the three tasks."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from menagerie.v1 import model_pb2, model_service_pb2
from service.models import typed
from tests.service.calls import Calls, history, picture
from zoo.series import prepare_history


async def test_images(calls: Calls) -> None:
    response = await calls.classify_images(picture(250), picture(5))
    assert (response.model.name, response.model.version) == ("shades", 1)
    bright, dark = response.results
    assert [(item.label, item.index) for item in bright.classes] == [("bright", 1), ("dark", 0)]
    assert [item.label for item in dark.classes] == ["dark", "bright"]
    assert math.isclose(sum(item.probability for item in bright.classes), 1, rel_tol=1e-5)
    assert bright.classes[0].probability == pytest.approx(1 / (1 + math.exp(-16 * (250 / 255 - 0.5))), rel=1e-5)


async def test_texts(calls: Calls) -> None:
    response = await calls.classify_texts("good", "bad", "한국어", top_k=1)
    assert [result.classes[0].label for result in response.results[:2]] == ["glad", "sad"]
    assert [len(result.classes) for result in response.results] == [1, 1, 1]
    assert response.results[2].classes[0].probability == pytest.approx(0.5)


async def test_forecasts(calls: Calls) -> None:
    with_time = history([1, 2, 3, 4])
    with_time.end_time.FromDatetime(datetime(2024, 5, 1, 12, tzinfo=UTC))
    response = await calls.forecast(with_time, history([7, 8, 9]))
    first, second = response.results
    assert [(column.name, list(column.values)) for column in first.columns] == [("load", [4, 4])]
    assert [time.ToDatetime(UTC).hour for time in first.times] == [13, 14]
    assert list(second.columns[0].values) == [9, 9]
    assert not second.times


async def test_long_histories_are_read_beside_the_event_loop(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of millions of rows only the newest are used, but all are looked at: nobody else should wait for that."""
    threads: list[str] = []

    def noting(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return prepare_history(*arguments)

    monkeypatch.setattr(typed, "prepare_history", noting)
    short, long = history([7, 8, 9]), history([1.0] * 100_000 + [4])
    assert list((await calls.forecast(short)).results[0].columns[0].values) == [9, 9]
    assert list((await calls.forecast(long)).results[0].columns[0].values) == [4, 4]
    assert threads[0] == threading.current_thread().name
    assert threads[1].startswith("decode")


async def test_more_classes_than_there_are_means_all(calls: Calls) -> None:
    response = await calls.classify_texts("good", top_k=100)
    assert len(response.results[0].classes) == 2


async def test_a_version_can_be_chosen(calls: Calls) -> None:
    response = await calls.classify_texts("good", version=1)
    assert response.model.version == 1


async def test_models_are_listed_with_their_tasks(calls: Calls) -> None:
    response = await calls.models.ListModels(model_service_pb2.ListModelsRequest())
    tasks = {item.model.name: item.task for item in response.models}
    assert list(tasks) == sorted(tasks)
    assert tasks["shades"] == model_pb2.TASK_IMAGE_CLASSIFICATION
    assert tasks["affine"] == model_pb2.TASK_UNSPECIFIED
    assert {item.state for item in response.models} == {model_pb2.MODEL_STATE_READY}
    forecasters = model_service_pb2.ListModelsRequest(task=model_pb2.TASK_FORECAST)
    assert [item.model.name for item in (await calls.models.ListModels(forecasters)).models] == ["load"]


async def test_a_model_describes_itself(calls: Calls) -> None:
    model = await _describe(calls, "shades")
    assert model.summary.description == "shades for tests"
    assert list(model.image.labels) == ["dark", "bright"]
    assert model.image.preprocessing == "shorter side to 10 (bilinear), centre crop 8x8"
    assert (model.inputs[0].name, model.inputs[0].datatype, list(model.inputs[0].shape)) == (
        "image",
        "UINT8",
        [-1, 8, 8, 3],
    )
    assert dict(model.test_metrics) == {"accuracy": 0.75}
    assert (model.licence, model.device, model.provenance.seed) == ("Apache-2.0", "cpu", 7)
    forecaster = await _describe(calls, "load")
    assert [(item.name, item.unit) for item in forecaster.forecast.features] == [("load", "MW"), ("temperature", "C")]
    assert forecaster.forecast.horizon_steps == 2
    plain = await _describe(calls, "affine")
    assert plain.WhichOneof("details") is None
    assert plain.outputs[0].name == "y"


async def _describe(calls: Calls, name: str) -> model_pb2.ModelDescription:
    request = model_service_pb2.GetModelRequest(model=model_pb2.ModelRef(name=name))
    model: model_pb2.ModelDescription = (await calls.models.GetModel(request)).model
    return model
