"""Many items in few requests, where one bad item costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.client.client import Classification, Forecast
from service.client.errors import PredictionError, UsageError

MAX_ITEMS = 32
MAX_BYTES = 16 * 2**20

Value = TypeVar("Value")
Answer = Classification | Forecast


@dataclass(frozen=True)
class Item(Generic[Value]):
    """Something to predict: how the user named it, and how to get it; `load` raises UsageError where it cannot."""

    input: str
    load: Callable[[], Value]


@dataclass(frozen=True)
class Failure:
    """Why an item has no answer."""

    code: str
    reason: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What became of an item."""

    input: str
    result: Answer | Failure


@dataclass(frozen=True)
class Job(Generic[Value]):
    """Items of one kind and how to send them."""

    items: Sequence[Item[Value]]
    call: Callable[[list[Value]], Sequence[Answer]]
    """Sends one request; raises PredictionError."""
    size: Callable[[Value], int]
    """Bytes of one value on the wire, so that requests stay below the server's limit of a message."""


def predict_in_batches(job: Job[Value]) -> Iterator[list[Outcome]]:
    """Predict all items, in order, a request at a time; values are loaded as they are needed."""
    names: list[str] = []
    results: list[Value | Failure] = []
    waiting = 0
    for item in job.items:
        value = _load(item)
        added = 0 if isinstance(value, Failure) else job.size(value)
        if names and (len(names) == MAX_ITEMS or waiting + added > MAX_BYTES):
            yield _outcomes(names, _predict(results, job.call))
            names, results, waiting = [], [], 0
        names.append(item.input)
        results.append(value)
        waiting += added
    if names:
        yield _outcomes(names, _predict(results, job.call))


def _load(item: Item[Value]) -> Value | Failure:
    try:
        return item.load()
    except UsageError as exc:
        return Failure(exc.code, exc.reason, exc.message)


def _predict(values: list[Value | Failure], call: Callable[[list[Value]], Sequence[Answer]]) -> list[Answer | Failure]:
    """Answer every value that is not a failure yet; where the server blames some, send the others again."""
    results: dict[int, Answer | Failure] = {
        index: value for index, value in enumerate(values) if isinstance(value, Failure)
    }
    pending = {index: value for index, value in enumerate(values) if not isinstance(value, Failure)}
    while pending:
        try:
            results |= zip(pending, call(list(pending.values())), strict=True)
            break
        except PredictionError as exc:
            places = list(pending)
            blamed = {places[place]: why for place, why in exc.violations.items() if place < len(places)}
            for index in blamed or places:
                reason, message = blamed.get(index, ("", exc.message))
                results[index] = Failure(exc.code, reason or exc.reason, message)
                del pending[index]
    return [results[index] for index in range(len(values))]


def _outcomes(names: list[str], results: list[Answer | Failure]) -> list[Outcome]:
    return [Outcome(name, result) for name, result in zip(names, results, strict=True)]
