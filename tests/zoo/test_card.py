"""The card refuses what it does not understand, by the field's name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cards import STATE, forecast_card, image_card, stateful_card, text_card
from zoo.card import Card, SeriesTask, parse_card
from zoo.errors import CardError


@pytest.mark.parametrize(
    "card", [image_card(), text_card(), forecast_card(), stateful_card()], ids=lambda card: card.name
)
def test_a_card_survives_the_file(card: Card) -> None:
    assert parse_card(card.to_json()) == card


def changed(path: str, value: Any) -> str:
    content = json.loads(image_card().to_json())
    *parents, last = path.split(".")
    part = content
    for name in parents:
        part = part[name]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema_version", 2, "schema_version: schema 2 is unknown; this version of menagerie reads schema 1"),
        ("licence", None, "licence: Field required"),
        ("colour", "red", "colour: Extra inputs are not permitted (got 'red')"),
        ("task.labels", ["one"], "task.image_classification.labels: Tuple should have at least 2 items"),
        ("task.kind", "detection", "task: Input tag 'detection'"),
        ("task.resize.height_px", 0, "task.image_classification.resize.height_px: Input should be greater"),
        ("task.resize.shorter_side_px", 2, "does not fit into shorter_side_px=2"),
        ("provenance.created", "yesterday", "provenance.created: Input should be a valid datetime"),
        ("golden.samples", [{"text": "x", "expected": [1]}], "golden.samples[0].image must be set"),
        ("golden.samples", [{"expected": [1]}], "exactly one of image, text, history must be set"),
        ("golden.samples", [{"image": "", "expected": [1]}], "samples[0].expected must have 2 numbers, it has 1"),
    ],
)
def test_a_wrong_field_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(CardError) as error:
        parse_card(changed(path, value))
    assert message in str(error.value)


@pytest.mark.parametrize("history", [[[1, 2]] * 2, [[1, 2], [1], [1, 2]]], ids=["too short", "ragged"])
def test_the_history_of_a_golden_sample_is_a_window(history: list[list[float]]) -> None:
    card = forecast_card().model_dump(mode="json")
    card["golden"]["samples"] = [{"history": history, "expected": [1, 2]}]
    with pytest.raises(CardError, match=r"golden\.samples\[0\]\.history must have 3 rows of 2 numbers"):
        parse_card(json.dumps(card))


@pytest.mark.parametrize(
    ("card", "state", "message"),
    [
        (image_card(), [STATE], "state is for a forecast task with window_steps=1"),
        (forecast_card(), [STATE], "state is for a forecast task with window_steps=1"),
        (stateful_card(), [STATE, STATE], "state inputs ['total', 'total'] must differ from each other"),
        (stateful_card(), [STATE | {"output": "forecast"}], "state outputs ['forecast'] must differ"),
        (stateful_card(), [STATE | {"shape": [0]}], "state[0].shape[0]: Input should be greater"),
        (stateful_card(), [STATE | {"dtype": "text"}], "state[0].dtype: Input should be 'float16'"),
    ],
)
def test_a_state_that_cannot_be(card: Card, state: list[dict[str, Any]], message: str) -> None:
    content = json.loads(card.to_json()) | {"state": state}
    with pytest.raises(CardError) as error:
        parse_card(json.dumps(content))
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(CardError, match="the card is not valid: card"):
        parse_card(text)


def test_a_prediction_interval_fits_its_forecast() -> None:
    task = forecast_card().task.model_dump()
    interval = {"coverage": 0.9, "half_widths": [[1.0], [2.0]]}
    assert SeriesTask.model_validate(task | {"interval": interval}).interval
    with pytest.raises(ValueError, match="2 rows of 1 numbers"):
        SeriesTask.model_validate(task | {"interval": interval | {"half_widths": [[1.0, 2.0]]}})
