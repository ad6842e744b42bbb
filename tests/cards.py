"""Small cards for tests; every one fits a graph of `tests.graphs`."""

from __future__ import annotations

from datetime import UTC, datetime

from zoo.card import Card, Golden, ImageTask, Provenance, Quantity, Resize, SeriesTask, TextTask

PROVENANCE = Provenance(
    created=datetime(2024, 5, 1, 12, tzinfo=UTC), recipe="tests", data="made up", data_sha256="0" * 64, seed=7
)

STATE = {"input": "total", "output": "next_total", "shape": (1,)}


def image_card(golden: Golden | None = None) -> Card:
    """Two classes of 8x8 images."""
    task = ImageTask(labels=("dark", "bright"), resize=Resize(shorter_side_px=10, height_px=8, width_px=8))
    return _card("shades", task, golden)


def text_card(golden: Golden | None = None) -> Card:
    """Two classes of texts."""
    return _card("moods", TextTask(labels=("sad", "glad"), max_tokens=16, language="en"), golden)


def forecast_card(golden: Golden | None = None) -> Card:
    """Three hours of one load and one temperature in, two hours of load out."""
    task = SeriesTask(
        features=(Quantity(name="load", unit="MW"), Quantity(name="temperature", unit="C")),
        targets=(Quantity(name="load", unit="MW"),),
        window_steps=3,
        horizon_steps=2,
        step_seconds=3600,
    )
    return _card("load", task, golden)


def stateful_card(golden: Golden | None = None, **changes: object) -> Card:
    """One row at a time; the total of all loads is what it remembers."""
    task = forecast_card().task.model_copy(update={"window_steps": 1})
    assert isinstance(task, SeriesTask)
    card = _card("total", task, None).model_dump() | {"state": [STATE], "golden": golden or Golden()} | changes
    return Card.model_validate(card)


def _card(name: str, task: ImageTask | TextTask | SeriesTask, golden: Golden | None) -> Card:
    return Card(
        name=name,
        description=f"{name} for tests",
        task=task,
        licence="Apache-2.0",
        provenance=PROVENANCE,
        test_metrics={"accuracy": 0.75},
        golden=golden or Golden(),
    )
