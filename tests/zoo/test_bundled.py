"""What the bundled models say about themselves is what the server needs to watch them."""

from __future__ import annotations

import math

import pytest

from zoo import BUNDLED
from zoo.card import Card, ImageTask, SeriesTask, TextTask
from zoo.package import read_card
from zoo.repository import ModelVersion, scan
from zoo.runtime import open_session

VERSIONS = scan(BUNDLED).versions


def quantities(card: Card) -> set[str]:
    """What the server can measure of a task; see service/telemetry/monitor.py."""
    match card.task:
        case ImageTask():
            return {"red", "green", "blue"}
        case TextTask():
            return {"unknown_token_rate"}
        case SeriesTask(features=features):
            return {feature.name for feature in features}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_drift_can_be_measured(version: ModelVersion) -> None:
    card = read_card(version.path)
    assert card
    for name in quantities(card):
        assert card.reference[name].distribution, name
    if not isinstance(card.task, SeriesTask):
        assert card.class_shares.keys() == set(card.task.labels)
        assert math.isclose(sum(card.class_shares.values()), 1)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_text_models_know_what_they_cannot_read(version: ModelVersion) -> None:
    card = read_card(version.path)
    assert card
    outputs = [output.name for output in open_session(version.path).get_outputs()]
    assert ("unknown_token_rate" in outputs) == isinstance(card.task, TextTask)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_no_file_tells_of_the_machine_that_made_it(version: ModelVersion) -> None:
    data = version.path.read_bytes()
    assert b"stack_trace" not in data
    assert b"/training/" not in data


def test_there_is_one_of_each_task() -> None:
    cards = [card for version in VERSIONS if (card := read_card(version.path))]
    assert {type(card.task) for card in cards} == {ImageTask, TextTask, SeriesTask}
