"""Sequences whose model is replaced or unloaded: they go on where they began, or are told that they cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from inference import grpc_service_pb2 as pb
from menagerie.v1 import model_pb2
from menagerie.v1.prediction_service_pb2 import ForecastStreamRequest, Reading
from service.models.entry import IndexRow, State
from tests import cards, graphs
from tests.service import stateful_graphs
from tests.service.calls import Calls, failure, numbers, until
from tests.service.conftest import Serve
from tests.service.steps import one, step
from tests.service.triton_layout import ACCUMULATOR, add_model
from zoo.repository import publish

MODEL = "accumulate"
POISON = 1000
"""What the other file adds to every answer: it shows which file answered, and from which state."""
EXPLICIT = {"control_mode": "explicit", "load_model": ("*",)}


def add_version(repository: Path, number: int, bonus: float) -> None:
    """Publish a version, or another file in the place of one, by renaming."""
    folder = repository / MODEL / str(number)
    folder.mkdir(exist_ok=True)
    (folder / ".aside").write_bytes(stateful_graphs.accumulator(bonus=bonus))
    (folder / ".aside").replace(folder / "model.onnx")


def add_first(repository: Path, more: str = "") -> None:
    """The model with its first version."""
    add_model(repository, MODEL, ACCUMULATOR + more, stateful_graphs.accumulator())


async def ask(
    calls: Calls, value: float, key: int, *, version: str = "", start: bool = False, end: bool = False
) -> float:
    """One step; the total that it answers."""
    request = step(MODEL, one(value), key, start=start, end=end)
    request.model_version = version
    return float(numbers(await calls.inference.ModelInfer(request))["OUTPUT"][0, 0])


async def test_a_sequence_goes_on_with_the_file_that_it_began_on(serve: Serve, tmp_path: Path) -> None:
    add_first(tmp_path)
    calls = await serve(tmp_path, **EXPLICIT)
    table = calls.server.table
    old = table.get(MODEL)
    assert await ask(calls, 1, 7, start=True) == 1
    assert await ask(calls, 5, 8, version="1", start=True) == 5
    add_version(tmp_path, 1, POISON)
    await table.load(MODEL)
    assert table.get(MODEL) is not old
    assert await ask(calls, 1, 9, start=True) == POISON + 1
    assert [await ask(calls, 1, key) for key in (7, 8, 9)] == [2, 6, 2 * POISON + 2]
    assert [await ask(calls, 1, key, version="1") for key in (7, 8, 9)] == [3, 7, 3 * POISON + 3]
    assert await calls.metric("menagerie_sequences", model=MODEL) == 3
    assert [await ask(calls, 1, key, end=True) for key in (7, 8)] == [4, 8]
    await until(lambda: not table._former)
    assert await calls.metric("menagerie_sequences", model=MODEL) == 1
    assert (await failure(ask(calls, 1, 7))).info.reason == "SEQUENCE_NOT_STARTED"
    assert await ask(calls, 1, 9, end=True) == 4 * POISON + 4


async def test_a_newer_version_beside_it_takes_new_sequences_only(serve: Serve, tmp_path: Path) -> None:
    add_first(tmp_path, "version_policy { all {} }")
    calls = await serve(tmp_path, **EXPLICIT)
    assert await ask(calls, 1, 7, start=True) == 1
    assert await ask(calls, 1, 8, version="1", start=True) == 1
    add_version(tmp_path, 2, POISON)
    await calls.server.table.load(MODEL)
    assert await ask(calls, 1, 7) == 2, "the caller left the version open, and goes on where it began"
    for key, version in ((7, "2"), (8, "2"), (8, "")):
        got = await failure(ask(calls, 1, key, version=version))
        assert got.info.reason == "SEQUENCE_NOT_STARTED", "8 asked for version 1, and is no sequence of another one"
    assert await ask(calls, 1, 8, version="1") == 2
    assert await ask(calls, 1, 7, start=True, end=True) == POISON + 1
    got = await failure(ask(calls, 1, 7))
    assert got.info.reason == "SEQUENCE_NOT_STARTED", "the one that began before is not found again"


async def test_a_version_that_is_replaced_stays_until_its_sequences_end(serve: Serve, tmp_path: Path) -> None:
    add_first(tmp_path)
    calls = await serve(tmp_path, control_mode="poll", poll_seconds=0.05)
    table = calls.server.table
    assert await ask(calls, 1, 7, start=True) == 1
    add_version(tmp_path, 2, POISON)
    await until(lambda: table.get(MODEL).version == 2)
    await until(lambda: table.find(MODEL, 1).state is State.UNLOADING)
    waiting = IndexRow(MODEL, 1, "UNLOADING", "finishes its requests and sequences")
    assert await table.index() == [waiting, IndexRow(MODEL, 2, "READY")]
    await asyncio.sleep(0.2)  # looks at the repository meanwhile change nothing
    assert await ask(calls, 1, 7) == 2
    assert await ask(calls, 1, 7, version="1", end=True) == 3
    await until(lambda: [entry.version for entry in table.entries()] == [2])
    assert 'version="1"' not in "".join(await _lines(calls, "menagerie_sequences{"))


async def _lines(calls: Calls, beginning: str) -> list[str]:
    return [line for line in (await calls.scrape()).splitlines() if line.startswith(beginning)]


async def test_a_sequence_that_lasts_too_long_is_told_why_it_ends(serve: Serve, tmp_path: Path) -> None:
    add_first(tmp_path)
    calls = await serve(tmp_path, sequence_drain_seconds=0.05, **EXPLICIT)
    table = calls.server.table
    assert await ask(calls, 1, 7, start=True) == 1
    add_version(tmp_path, 1, POISON)
    await table.load(MODEL)
    await until(lambda: not table._former)
    for version in ("", "1"):
        got = await failure(ask(calls, 1, 7, version=version))
        assert (got.code, got.info.reason) == (grpc.StatusCode.ABORTED, "SEQUENCE_LOST")
        assert got.message.startswith(
            "sequence 7 began on version 1 of model 'accumulate' as it was before it was repl"
        )
    assert await calls.metric("menagerie_sequences_ended_total", model=MODEL, reason="lost") == 1
    assert await calls.metric("menagerie_errors_total", model=MODEL, version="1", reason="SEQUENCE_LOST") == 2
    assert await ask(calls, 1, 7, start=True) == POISON + 1
    assert await ask(calls, 1, 7) == 2 * POISON + 2


async def test_steps_on_their_way_when_the_time_is_over_are_answered(serve: Serve, tmp_path: Path) -> None:
    add_first(tmp_path)
    calls = await serve(tmp_path, sequence_drain_seconds=0, **EXPLICIT)
    table = calls.server.table
    assert await ask(calls, 1, 7, start=True) == 1
    steps = [step(MODEL, one(1), 7) for _ in range(50)]
    add_version(tmp_path, 1, POISON)
    answers, _ = await asyncio.gather(_stream(calls, steps), table.load(MODEL))
    totals = [float(numbers(answer.infer_response)["OUTPUT"][0, 0]) for answer in answers if not answer.error_message]
    assert totals == [float(total) for total in range(2, len(totals) + 2)]
    assert {answer.error_message.partition(" began on ")[0] for answer in answers[len(totals) :]} <= {"sequence 7"}


async def _stream(calls: Calls, requests: list[pb.ModelInferRequest]) -> list[pb.ModelStreamInferResponse]:
    return [response async for response in calls.inference.ModelStreamInfer(iter(requests))]


async def test_a_former_model_goes_when_its_sequences_are_idle(serve: Serve, tmp_path: Path) -> None:
    add_model(tmp_path, MODEL, ACCUMULATOR.replace("5000000", "100000"), stateful_graphs.accumulator())
    calls = await serve(tmp_path, **EXPLICIT)
    assert await ask(calls, 1, 7, start=True) == 1
    add_version(tmp_path, 1, POISON)
    await calls.server.table.load(MODEL)
    await until(lambda: not calls.server.table._former)
    assert (await failure(ask(calls, 1, 7))).info.reason == "SEQUENCE_NOT_STARTED"


async def test_a_restart_on_the_new_model_ends_its_namesake_on_the_old_one(serve: Serve, tmp_path: Path) -> None:
    add_first(tmp_path)
    calls = await serve(tmp_path, **EXPLICIT)
    assert await ask(calls, 1, 7, start=True) == 1
    add_version(tmp_path, 1, POISON)
    await calls.server.table.load(MODEL)
    assert await ask(calls, 1, 7, start=True, end=True) == POISON + 1
    assert (await failure(ask(calls, 1, 7))).info.reason == "SEQUENCE_NOT_STARTED"
    await until(lambda: not calls.server.table._former)


async def test_unloading_finishes_sequences_and_takes_no_new_ones(serve: Serve, tmp_path: Path) -> None:
    add_first(tmp_path)
    calls = await serve(tmp_path, **EXPLICIT)
    table = calls.server.table
    assert await ask(calls, 1, 7, start=True) == 1
    await asyncio.wait_for(table.unload(MODEL), 1)
    assert (await failure(ask(calls, 1, 8, start=True))).code is grpc.StatusCode.UNAVAILABLE
    assert await ask(calls, 1, 7) == 2
    await table.load(MODEL)
    assert await ask(calls, 1, 8, start=True) == 1
    await table.unload(MODEL)
    assert await ask(calls, 1, 7, end=True) == 3
    assert await ask(calls, 1, 8, end=True) == 2
    await until(lambda: table.find(MODEL).state is State.UNLOADED)
    assert await table.index() == [IndexRow(MODEL, 1, "UNAVAILABLE", "unloaded")]


# --- streams of forecasts ---


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("patient", [True, False])
async def test_a_forecast_stream_goes_on_or_says_why_not(
    serve: Serve, tmp_path: Path, state: bool, patient: bool
) -> None:
    graph, card = (
        (graphs.stateful_forecast_graph(), cards.stateful_card())
        if state
        else (graphs.forecast_graph(), cards.forecast_card())
    )
    publish(graph, card, tmp_path, "load")
    calls = await serve(tmp_path, sequence_drain_seconds=60 if patient else 0, **EXPLICIT)
    table, replaced = calls.server.table, asyncio.Event()

    async def rows() -> AsyncIterator[ForecastStreamRequest]:
        yield ForecastStreamRequest(model=model_pb2.ModelRef(name="load"))
        for load in range(1, 5):
            if load == 4:
                await replaced.wait()
            yield ForecastStreamRequest(reading=Reading(values={"load": load, "temperature": 20.0}))

    call = calls.predictions.ForecastStream(rows())
    before = [await call.read() for _ in range(3)]
    assert before[-1].forecast.columns[0].values[0] == (6 if state else 3)
    file = tmp_path / "load" / "1" / "model.onnx"
    file.write_bytes(file.read_bytes())
    old = table.get("load")
    await table.load("load")
    assert table.get("load") is not old
    if not patient:
        await until(lambda: not table._former)
    replaced.set()
    if patient:
        assert (await call.read()).forecast.columns[0].values[0] == (10 if state else 4)
    else:
        got = await failure(call.read())
        assert (got.code, got.info.reason) == (grpc.StatusCode.ABORTED, "SEQUENCE_LOST")
        assert got.message.startswith("this stream began on version 1 of model 'load'")
    await until(lambda: not table._former)
