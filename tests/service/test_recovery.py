"""What goes wrong inside a model costs the request that caused it, over a real channel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import numpy as np
import pytest

from service.backend.contract import Tensors
from service.errors import InferenceError, OutOfMemoryError
from tests.service.calls import Calls, Failure, failure
from tests.service.conftest import Serve


async def _double(calls: Calls, *values: float) -> list[float]:
    answer = await calls.infer("affine", {"x": np.repeat(np.float32([values]).T, 3, axis=1)})
    return [float(row[0]) for row in answer["y"]]


class Frail:
    """A real backend in front of which memory is short, or the engine fails, while it is told so."""

    def __init__(self, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = calls.server.table.get("affine")._batched._runner._backend
        self.max_rows = 1000
        self.broken = False
        self.runs: list[int] = []
        self._run = backend.run
        monkeypatch.setattr(backend, "run", self.run)

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        self.runs.append(len(inputs["x"]))
        if self.broken:
            raise InferenceError("the engine is out of order")
        if len(inputs["x"]) > self.max_rows:
            raise OutOfMemoryError("Failed to allocate memory for requested buffer of size 123")
        return self._run(inputs, outputs)


async def test_too_little_memory_for_a_batch_halves_it(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    frail = Frail(calls, monkeypatch)
    frail.max_rows = 3
    assert await _double(calls, *range(10)) == [2 * value + 1 for value in range(10)]
    assert max(frail.runs[3:]) <= 5


async def test_too_little_memory_for_a_row_costs_the_request(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    frail = Frail(calls, monkeypatch)
    frail.max_rows = 0
    got = await failure(calls.infer("affine", {"x": np.ones((1, 3), np.float32)}))
    assert (got.code, got.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OUT_OF_MEMORY")
    assert "123" not in got.message, "details stay in the log"
    frail.max_rows = 1000
    assert await _double(calls, 1, 2) == [3, 5]


async def test_an_engine_that_fails_for_a_while(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    frail = Frail(calls, monkeypatch)
    frail.broken = True
    results = await asyncio.gather(*(failure(_double(calls, value)) for value in range(20)))
    assert {got.code for got in results} == {grpc.StatusCode.INTERNAL}
    frail.broken = False
    assert await _double(calls, 1) == [3]
    assert await calls.status() == "SERVING"


async def test_nan_is_an_answer_unless_it_is_refused(serve: Serve) -> None:
    calls = await serve()
    assert np.isnan(await _double(calls, float("nan"))).all()


async def test_refused_nan_costs_only_the_request_with_it(serve: Serve) -> None:
    calls = await serve(refuse_nan=True)
    values = [1.0, float("nan"), 2.0, float("inf")]
    results = await asyncio.gather(
        *(failure(_double(calls, value)) if np.isnan(value) else _double(calls, value) for value in values * 5)
    )
    for value, result in zip(values * 5, results, strict=True):
        if np.isnan(value):
            assert isinstance(result, Failure)
            assert (result.code, result.info.reason) == (grpc.StatusCode.INTERNAL, "OUTPUT_NAN")
            assert "output 'y' of the model holds NaN" in result.message
        else:
            assert result == [2 * value + 1]


async def test_several_instances_answer_the_right_callers(serve: Serve) -> None:
    calls = await serve(instances=3, max_batch_size=2)
    answers = await asyncio.gather(*(_double(calls, value, -value) for value in range(60)))
    assert answers == [[2 * value + 1, -2 * value + 1] for value in range(60)]
