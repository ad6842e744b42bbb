"""The publication gate refuses a graph that does not do what torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cards import image_card
from tests.graphs import image_graph
from training.errors import GateError
from training.export.gate import check_batch_independence, check_metric, check_parity, publish_checked
from training.export.golden import choose_samples, generated_images, make_golden
from zoo.errors import GoldenError
from zoo.golden import Tensors
from zoo.runtime import make_run, open_session

BATCHES = [{"x": np.arange(1, size + 1, dtype=np.float32)[:, None]} for size in (1, 2, 5)]


def double(inputs: Tensors) -> Tensors:
    return {"y": 2 * inputs["x"].astype(np.float32)}


def right_for_up_to_two(inputs: Tensors) -> Tensors:
    """What an export with a frozen batch axis does: right at the size of its example."""
    return {"y": 2 * inputs["x"].astype(np.float32) + 0.1 * (len(inputs["x"]) > 2)}


def test_equal_graphs_pass_and_the_error_is_returned() -> None:
    assert check_parity(double, double, BATCHES) == 0
    slightly = check_parity(double, lambda inputs: {"y": 2.00001 * inputs["x"]}, BATCHES)
    assert slightly == pytest.approx(5e-6, rel=0.1)


def test_a_graph_that_is_wrong_at_another_batch_size_is_refused() -> None:
    with pytest.raises(GateError, match=r"y for x \[5, 1\]: .* differ by 0\.01 of the largest value, limit 0\.0001"):
        check_parity(double, right_for_up_to_two, BATCHES)
    with pytest.raises(GateError, match=r"y for x \[5, 1\]"):
        check_batch_independence(right_for_up_to_two, BATCHES)


def test_other_shapes_and_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(GateError, match=r"torch gives shape \(1, 1\), ONNX Runtime \(1,\)"):
        check_parity(double, lambda inputs: {"y": inputs["x"][:, 0]}, BATCHES)
    with pytest.raises(GateError, match="differ by nan"):
        check_parity(double, lambda inputs: {"y": np.nan * inputs["x"]}, BATCHES)


def test_a_metric_must_be_the_same_on_both_sides() -> None:
    check_metric("accuracy", 0.9, 0.9005)
    with pytest.raises(GateError, match="accuracy on the test part is 0.9 in torch and 0.85 in ONNX Runtime"):
        check_metric("accuracy", 0.9, 0.85)


def test_a_model_that_fails_its_golden_samples_is_not_published(tmp_path: Path) -> None:
    run = make_run(open_session(image_graph()))
    images = generated_images()
    golden = make_golden(images, image_card().task.resize, run, atol=1e-3, rtol=1e-3)
    swapped = tuple(sample.model_copy(update={"expected": sample.expected[::-1]}) for sample in golden.samples)
    card, wrong = image_card(golden), image_card(golden.model_copy(update={"samples": swapped}))
    with pytest.raises(GoldenError):
        publish_checked(image_graph(), wrong, tmp_path / "repository", "brightness")
    assert not (tmp_path / "repository").exists()
    assert publish_checked(image_graph(), card, tmp_path / "repository", "brightness").version == 1


def test_golden_samples_are_right_answers_that_are_not_saturated() -> None:
    sure, good, undecided, wrong, other = [1, 0, 0], [0.91, 0.05, 0.04], [0.5, 0.3, 0.2], [0.1, 0.9, 0], [0, 0.8, 0.2]
    probabilities = np.array([sure, good, undecided, wrong, other], np.float32)
    assert choose_samples(probabilities, [0, 0, 0, 0, 1], count=2) == [1, 4]
    assert choose_samples(probabilities, [0, 0, 0, 0, 1], count=4) == [1, 4, 0, 2]
