"""Conversions, and what they do with bytes that nobody sane would send."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from google.rpc import error_details_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from service.convert.predictions import classifications, read_values
from service.convert.status import to_status
from service.convert.tensor_responses import classify
from service.errors import InvalidItemsError, ModelNotFoundError, QueueFullError, Violation


def test_of_equal_classes_the_lower_index_is_first() -> None:
    (result,) = classifications(np.array([[0.2, 0.4, 0.4]], np.float32), ["a", "b", "c"], 2)
    assert [(item.label, item.index) for item in result.classes] == [("b", 1), ("c", 2)]


def test_long_columns_are_read_in_pieces() -> None:
    """Numpy lets no other thread go on before it has read all that it is given."""
    taken: list[int] = []

    class Noting(list[float]):
        def __getitem__(self, key: Any) -> Any:
            taken.append(len(super().__getitem__(key)))
            return super().__getitem__(key)

    column = Noting(np.arange(123_456, dtype=np.float32).tolist())
    np.testing.assert_array_equal(read_values(column), np.arange(123_456))
    assert sum(taken) == 123_456
    assert max(taken) <= 10_000


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.25, 0.5]], np.float32), [["0.500000:1:b", "0.250000:0:a"]]),
        (np.array([[7, -3]], np.int64), [["7:0:a", "-3:1:b"]]),
        (np.array([[[1.0], [2.0]]]), [["2.000000:1:b", "1.000000:0:a"]]),
    ],
)
def test_classification_strings(values: np.ndarray, expected: list[list[str]]) -> None:
    assert classify(values, 5, ["a", "b"]).tolist() == expected


def test_classification_without_labels_or_batch() -> None:
    assert classify(np.array([1.0, 3.0, 2.0]), 2, [], batched=False).tolist() == ["3.000000:1", "2.000000:2"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=4000), st.integers(1, 40))
@example("x" * 10_000, 1)
def test_a_status_always_fits_into_the_trailing_metadata(text: str, count: int) -> None:
    violations = [Violation(f"parameters[{text}{index}]", "TEXT_EMPTY", text) for index in range(count)]
    for error in (InvalidItemsError(violations, item_count=40), ModelNotFoundError(text, [text])):
        status = to_status(error, "x" * 128)
        on_the_wire = len(base64.b64encode(status.SerializeToString())) + len(quote(status.message))
        assert on_the_wire < 7800, "clients take 8 KiB"


def test_a_retry_hint_is_a_duration() -> None:
    status = to_status(QueueFullError(1, 2, 3, retry_seconds=1.25), "id")
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1250
