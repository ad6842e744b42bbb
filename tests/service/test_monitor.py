"""Predicted classes, confidence, inputs out of range, drift: what operators see of a model's work."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, load_from_string
from pydantic import ValidationError

from service.telemetry.metrics import Metrics
from service.telemetry.monitor import CLASSES, MEMORY_ROWS, Monitor
from tests import cards, graphs
from tests.service.calls import history, picture
from tests.service.conftest import Serve
from zoo.card import IMAGE_INPUT, Card, ColumnStatistics, Distribution, parse_card
from zoo.repository import publish


def statistics(values: np.ndarray) -> ColumnStatistics:
    """What training would write into the card."""
    return ColumnStatistics(
        mean=float(values.mean()), std=float(values.std()), min=float(values.min()), max=float(values.max()),
        distribution=Distribution.of(values),
    )  # fmt: skip


TRAINING = np.random.default_rng(0).normal(100, 10, 10_000)


def with_reference(card: Card, **more: object) -> Card:
    return Card.model_validate(card.model_dump() | more)


def text_graph_with_quantity() -> bytes:
    """The text graph, which also says for each text whether it is unknown to it."""
    model = load_from_string(graphs.text_graph())
    model.graph.node.extend(
        [
            helper.make_node("Equal", ["score", "nothing"], ["unknown"]),
            helper.make_node("Cast", ["unknown"], ["unknown_token_rate"], to=TensorProto.FLOAT),
        ]
    )
    model.graph.initializer.append(helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]))
    model.graph.output.append(helper.make_tensor_value_info("unknown_token_rate", TensorProto.FLOAT, ["batch"]))
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """Models whose cards say what training was like."""
    load = with_reference(cards.forecast_card(), reference={"load": statistics(TRAINING)})
    publish(graphs.forecast_graph(), load, tmp_path, "load")
    rate = ColumnStatistics(mean=0.1, std=0.1, min=0.0, max=0.5)
    moods = with_reference(
        cards.text_card(), class_shares={"sad": 0.5, "glad": 0.5}, reference={"unknown_token_rate": rate}
    )
    publish(text_graph_with_quantity(), moods, tmp_path, "moods")
    pixels = with_reference(cards.image_card(), reference={"red": ColumnStatistics(mean=100, std=50, min=10, max=250)})
    publish(graphs.image_graph(), pixels, tmp_path, "shades")
    return tmp_path


async def test_a_classifier(serve: Serve, watched: Path) -> None:
    calls = await serve(watched)
    await calls.classify_texts("good", "good", "bad")
    assert await calls.metric("menagerie_predicted_classes_total", model="moods", label="glad") == 2
    assert await calls.metric("menagerie_predicted_classes_total", model="moods", label="sad") == 1
    assert await calls.metric("menagerie_confidence_count", model="moods") == 3
    assert await calls.metric("menagerie_confidence_bucket", model="moods", le="0.99") == 0


async def test_what_the_graph_says_of_its_vocabulary(serve: Serve, watched: Path) -> None:
    calls = await serve(watched)
    answer = await calls.classify_texts("good", "wonderful", "splendid", "bad")
    assert len(answer.results) == 4
    named = {"model": "moods", "quantity": "unknown_token_rate"}
    assert await calls.metric("menagerie_measured_inputs_total", **named) == 4
    assert await calls.metric("menagerie_out_of_range_inputs_total", **named) == 2
    assert await calls.metric("menagerie_input_shift", **named) == pytest.approx((0.5 - 0.1) / 0.1)


async def test_inputs_out_of_range(serve: Serve, watched: Path) -> None:
    calls = await serve(watched)
    await calls.forecast(history([100, 101, 102]), history([100, 5000, 102]))
    assert await calls.metric("menagerie_measured_inputs_total", model="load", quantity="load") == 2
    assert await calls.metric("menagerie_out_of_range_inputs_total", model="load", quantity="load") == 1
    assert await calls.metric("menagerie_measured_inputs_total", model="load", quantity="temperature") == 0
    await calls.classify_images(picture(5), picture(120))
    assert await calls.metric("menagerie_out_of_range_inputs_total", model="shades", quantity="red") == 1
    # The tensor API is watched too.
    await calls.infer("load", {"history": np.full((1, 3, 2), -1, np.float32)})
    assert await calls.metric("menagerie_out_of_range_inputs_total", model="load", quantity="load") == 2


async def test_it_can_be_turned_off(serve: Serve, watched: Path) -> None:
    calls = await serve(watched, model_metrics=False)
    await calls.classify_texts("good")
    assert await calls.metric("menagerie_predicted_classes_total") == 0


class Watch:
    """A monitor of its own."""

    def __init__(self, card: Card) -> None:
        self.metrics = Metrics()
        self.monitor = Monitor(card, {"probabilities", "logits"}, self.metrics.for_model("m", 1))

    def drift(self, quantity: str) -> float | None:
        labels = {"model": "m", "version": "1", "quantity": quantity}
        return self.metrics.registry.get_sample_value("menagerie_drift_psi", labels)


def test_drift_of_an_input() -> None:
    watch = Watch(with_reference(cards.forecast_card(), reference={"load": statistics(TRAINING)}))
    random = np.random.default_rng(1)

    def observe(mean: float, rows: int) -> None:
        tables = random.normal(mean, 10, (rows, 3, 2)).astype(np.float32)
        watch.monitor.observe({"history": tables}, {})

    observe(100, 100)
    assert watch.drift("load") is None, "too few rows to tell"
    observe(100, 900)
    index = watch.drift("load")
    assert index is not None
    assert index < 0.02
    observe(115, 3 * MEMORY_ROWS)
    index = watch.drift("load")
    assert index is not None
    assert index > 0.25
    observe(100, 8 * MEMORY_ROWS)
    index = watch.drift("load")
    assert index is not None
    assert index < 0.02, "the past fades"


def test_drift_of_the_predicted_classes() -> None:
    watch = Watch(with_reference(cards.text_card(), class_shares={"sad": 0.8, "glad": 0.2}))

    def observe(glad: int, sad: int) -> None:
        rows = [[0.1, 0.9]] * glad + [[0.7, 0.3]] * sad
        watch.monitor.observe({}, {"probabilities": np.array(rows, np.float32)})

    observe(glad=20, sad=80)
    assert watch.drift(CLASSES) == pytest.approx(0, abs=1e-9)
    observe(glad=5000, sad=0)
    index = watch.drift(CLASSES)
    assert index is not None
    assert index > 1


def test_images_are_not_kept_until_they_are_looked_at() -> None:
    card = with_reference(cards.image_card(), reference={"red": ColumnStatistics(mean=100, std=50, min=0, max=255)})
    monitor = Monitor(card, set(), Metrics().for_model("shades", 1))
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    alive = weakref.ref(pixels)
    monitor.observe({IMAGE_INPUT: pixels}, {})
    del pixels
    assert alive() is None


def test_a_value_on_an_edge_is_in_the_bin_above() -> None:
    """Whatever it came as: 14.7 of a table is 14.69999981 on the wire, and pixels are integers."""
    halves = Distribution(edges=(14.7,), shares=(0.5, 0.5))
    reference = ColumnStatistics(mean=15, std=5, min=0, max=100, distribution=halves)

    tables = Watch(with_reference(cards.forecast_card(), reference={"load": reference}))
    for value in (14.7, 14.69):
        tables.monitor.observe({"history": np.full((50, 3, 2), value, np.float32)}, {})
    assert tables.drift("load") == pytest.approx(0, abs=1e-3)

    pictures = Watch(with_reference(cards.image_card(), reference={"green": reference}))
    for value in (14, 15):
        pixels = np.zeros((50, 64, 40, 3), np.uint8)
        pixels[..., 1] = value
        pictures.monitor.observe({IMAGE_INPUT: pixels}, {})
    assert pictures.drift("green") == pytest.approx(0, abs=1e-3)


def test_confidence_of_many_rows() -> None:
    watch = Watch(cards.text_card())
    best = np.array([0.5, 0.6, 0.6, 0.625, 0.96, 1.0], np.float32)
    watch.monitor.observe({}, {"probabilities": np.stack([best, 1 - best], axis=1)})

    def up_to(bound: str) -> float | None:
        labels = {"model": "m", "version": "1", "le": bound}
        return watch.metrics.registry.get_sample_value("menagerie_confidence_bucket", labels)

    # The 0.6 of float32 is a little more than 0.6.
    assert [up_to(bound) for bound in ("0.4", "0.5", "0.6", "0.7", "0.95", "0.99", "1.0", "+Inf")] == [
        0, 1, 1, 4, 4, 5, 6, 6
    ]  # fmt: skip


def test_what_is_no_number_spoils_nothing() -> None:
    watch = Watch(with_reference(cards.forecast_card(), reference={"load": statistics(TRAINING)}))
    tables = np.full((4, 3, 2), 100, np.float32)
    tables[1, 0, 0], tables[2, 1, 0] = np.nan, np.inf
    watch.monitor.observe({"history": tables}, {})
    watch.monitor.observe({"history": tables[1:2]}, {})
    labels = {"model": "m", "version": "1", "quantity": "load"}
    value = watch.metrics.registry.get_sample_value
    assert value("menagerie_out_of_range_inputs_total", labels) == 3
    assert abs(value("menagerie_input_shift", labels) or 9) < 0.1

    watch = Watch(with_reference(cards.text_card(), class_shares={"sad": 0.5, "glad": 0.5}))
    watch.monitor.observe({}, {"probabilities": np.array([[np.nan, 0.5], [0.25, 0.75]], np.float32)})
    assert watch.metrics.registry.get_sample_value("menagerie_confidence_sum", {"model": "m", "version": "1"}) == 0.75


def test_the_index_is_that_of_the_textbook() -> None:
    watch = Watch(with_reference(cards.text_card(), class_shares={"sad": 0.5, "glad": 0.5}))
    rows = np.array([[0.1, 0.9]] * 75 + [[0.9, 0.1]] * 25, np.float32)
    watch.monitor.observe({}, {"probabilities": rows})
    expected = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    assert watch.drift(CLASSES) == pytest.approx(expected)


def test_bins_hold_equally_much() -> None:
    found = Distribution.of(TRAINING)
    assert found
    assert len(found.edges) == 9
    assert np.allclose(found.shares, 0.1, atol=1e-3)
    assert Distribution.of([7, 7, 7]) is None
    two = Distribution.of([0, 0, 0, 1])
    assert two
    assert (two.edges, two.shares) == ((1.0,), (0.75, 0.25))
    assert Distribution.of([0] * 995 + [0.2, 0.5, 0.5, 1, 1]) == Distribution(edges=(0.2,), shares=(0.995, 0.005))
    assert Distribution.of_counts([3, 4, 9], [1, 6, 3]) == Distribution.of([3, 4, 4, 4, 4, 4, 4, 9, 9, 9])


def test_old_cards_are_valid_and_new_ones_are_checked() -> None:
    card = with_reference(cards.text_card(), class_shares={"sad": 0.25, "glad": 0.75})
    assert parse_card(card.to_json()) == card
    old = cards.text_card().model_dump(mode="json", exclude={"class_shares"})
    assert Card.model_validate(old).class_shares == {}
    for shares, words in ({"mad": 1.0}, "no label"), ({"sad": 0.5}, "sum to 1"):
        with pytest.raises(ValidationError, match=words):
            with_reference(card, class_shares=shares)
    for edges, shares_of_bins in ((2.0, 1.0), (0.2, 0.3, 0.5)), ((1.0,), (0.2, 0.3, 0.5)), ((1.0,), (0.2, 0.3)):
        with pytest.raises(ValidationError):
            Distribution(edges=edges, shares=shares_of_bins)
