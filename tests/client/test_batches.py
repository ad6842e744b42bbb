"""Many items in few requests: order is kept, and a bad item costs only itself."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from service.client import Classification, ClassScore, PredictionError, UsageError
from service.client.batches import MAX_BYTES, MAX_ITEMS, Failure, Item, Job, Outcome, predict_in_batches


class Server:
    """Answers each value with itself as the label, and refuses a request with the values that begin with "bad"."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []

    def __call__(self, values: list[str]) -> list[Classification]:
        self.requests.append(values)
        bad = {index: ("TEXT_BAD", f"{value} is bad") for index, value in enumerate(values) if value[:3] == "bad"}
        if bad:
            raise PredictionError("INVALID_ARGUMENT", "INVALID_ITEMS", "some items are bad", bad)
        return [Classification("echo", 1, (ClassScore(value, 0, 1.0),)) for value in values]


def load(value: str) -> str:
    if value.startswith("missing"):
        raise UsageError("FILE_UNREADABLE", f"{value}: No such file")
    return value


def run(values: list[str], server: Server, size: int = 1) -> list[Outcome]:
    job = Job([Item(value, partial(load, value)) for value in values], server, lambda _: size)
    return [outcome for batch in predict_in_batches(job) for outcome in batch]


@given(st.lists(st.sampled_from(["good", "fine", "bad 1", "bad 2", "missing"]), max_size=3 * MAX_ITEMS))
def test_every_item_gets_its_own_outcome_in_order(values: list[str]) -> None:
    outcomes = run(values, Server())
    assert [outcome.input for outcome in outcomes] == values
    for value, outcome in zip(values, outcomes, strict=True):
        match outcome.result:
            case Classification(classes=(score,)):
                assert score.label == value
            case Failure(reason="TEXT_BAD", message=message):
                assert message == f"{value} is bad"
            case other:
                assert value == "missing"
                assert other == Failure("INVALID_ARGUMENT", "FILE_UNREADABLE", "missing: No such file")


def test_items_travel_in_few_requests_and_good_ones_are_sent_again_once() -> None:
    server = Server()
    run(["good"] * (2 * MAX_ITEMS) + ["bad", "fine"], server)
    assert [len(values) for values in server.requests] == [MAX_ITEMS, MAX_ITEMS, 2, 1]


def test_requests_stay_below_the_limit_of_bytes() -> None:
    server = Server()
    run(["good"] * 5, server, size=MAX_BYTES // 2)
    assert [len(values) for values in server.requests] == [2, 2, 1]
    run(["good"] * 2, server, size=2 * MAX_BYTES)
    assert [len(values) for values in server.requests[3:]] == [1, 1]


def test_an_error_that_blames_nobody_fails_the_whole_request() -> None:
    def refuse(values: list[str]) -> list[Classification]:
        raise PredictionError("NOT_FOUND", "MODEL_NOT_FOUND", "no model cats")

    (batch,) = predict_in_batches(Job([Item("a", lambda: "a"), Item("b", lambda: "b")], refuse, len))
    assert [outcome.result for outcome in batch] == [Failure("NOT_FOUND", "MODEL_NOT_FOUND", "no model cats")] * 2
