"""How models come and go on request: in one step, and with their memory given back."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from pathlib import Path

import grpc
import numpy as np
import pytest

from service.errors import ControlError, LoadError, ModelNotFoundError, StartError
from service.flags import parse_settings
from service.models import turnover
from service.models.entry import IndexRow, State
from tests.service import plain_graphs
from tests.service.calls import failure, until
from tests.service.conftest import Serve, add_plain
from tests.service.scaled_models import factor_of, replace_file, scaled
from zoo.errors import RepositoryError

LONG = np.array([[1_000_000]], np.int64)
"""Rounds that keep the model busy for some tenths of a second."""
EXPLICIT = {"control_mode": "explicit", "load_model": ("*",)}


async def test_only_what_is_named_is_loaded_at_the_start(serve: Serve, repository: Path) -> None:
    calls = await serve(repository, control_mode="explicit", load_model=("moods",))
    assert [entry.name for entry in calls.server.table.entries()] == ["moods"]
    assert (await failure(calls.infer("affine", {}))).code is grpc.StatusCode.NOT_FOUND
    rows = await calls.server.table.index()
    assert rows[0] == IndexRow("moods", 1, "READY")
    assert IndexRow("affine") in rows
    await calls.server.table.load("affine")
    assert await factor_of(calls) == 2


async def test_a_name_that_is_not_there_stops_the_start(serve: Serve, repository: Path) -> None:
    with pytest.raises(RepositoryError, match="no model 'mods' to load; there is affine, "):
        await serve(repository, control_mode="explicit", load_model=("mods",))


async def test_an_explicit_server_without_models_waits_for_them(serve: Serve, repository: Path) -> None:
    calls = await serve(repository, control_mode="explicit")
    assert await calls.status() == "NOT_SERVING"
    await calls.server.table.load("moods")
    assert await calls.status() == "SERVING"
    assert (await calls.classify_texts("good")).results


async def test_unload_refuses_the_new_finishes_the_old_and_load_brings_it_back(serve: Serve, repository: Path) -> None:
    calls = await serve(repository, **EXPLICIT)
    table = calls.server.table
    running = asyncio.create_task(calls.infer("busy", {"rounds": LONG}))
    await until(lambda: table.get("busy")._batcher._door.seats)
    unloading = asyncio.create_task(table.unload("busy"))
    await until(lambda: table.find("busy").state is State.UNLOADING)
    assert IndexRow("busy", 1, "UNLOADING", "finishes its requests") in await table.index()
    got = await failure(calls.infer("busy", {"rounds": LONG}))
    assert (got.code, got.info.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_NOT_READY")
    assert float((await running)["y"][0, 0]) == LONG[0, 0]
    await unloading
    assert IndexRow("busy", 1, "UNAVAILABLE", "unloaded") in await table.index()
    assert await calls.metric("menagerie_model_state", model="busy") == 0
    await table.load("busy")
    assert IndexRow("busy", 1, "READY") in await table.index()
    assert await calls.metric("menagerie_model_state", model="busy", state="READY") == 1


async def test_a_load_while_it_is_being_unloaded(serve: Serve, repository: Path) -> None:
    calls = await serve(repository, **EXPLICIT)
    table = calls.server.table
    running = asyncio.create_task(calls.infer("busy", {"rounds": LONG}))
    await until(lambda: table.get("busy")._batcher._door.seats)
    unloading = asyncio.create_task(table.unload("busy"))
    await until(lambda: table.find("busy").state is State.UNLOADING)
    await table.load("busy")
    assert float((await calls.infer("busy", {"rounds": LONG // 1000}))["y"][0, 0]) == LONG[0, 0] // 1000
    await asyncio.gather(running, unloading)
    assert table.find("busy").state is State.READY
    assert await calls.metric("menagerie_model_state", model="busy", state="READY") == 1


async def test_a_load_that_fails_leaves_what_serves(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path, **EXPLICIT)
    table = calls.server.table
    replace_file(tmp_path, "affine", b"broken")
    with pytest.raises(LoadError, match="failed to load 'affine', failed to poll from model repository"):
        await table.load("affine")
    assert await factor_of(calls) == 2
    (row,) = await table.index()
    assert (row.state, row.reason.partition(";")[0]) == ("READY", "serves on with its former files")
    with pytest.raises(LoadError):
        await table.load("nobody")
    with pytest.raises(ModelNotFoundError):
        await table.unload("nobody")
    replace_file(tmp_path, "affine", scaled(3))
    await table.load("affine")
    assert (await table.index()) == [IndexRow("affine", 1, "READY")]
    assert await factor_of(calls) == 3
    outcomes = [await calls.metric("menagerie_model_loads_total", outcome=word) for word in ("ready", "failed")]
    assert outcomes == [2, 1]


async def test_a_caller_that_leaves_does_not_stop_a_load(serve: Serve, repository: Path) -> None:
    calls = await serve(repository, control_mode="explicit")
    table = calls.server.table
    load = asyncio.create_task(table.load("moods"))
    await until(lambda: table.versions("moods"))
    load.cancel()
    await until(table.ready)


async def test_what_has_not_changed_is_not_loaded_again(serve: Serve, repository: Path) -> None:
    calls = await serve(repository, **EXPLICIT)
    before = calls.server.table.get("moods")
    await calls.server.table.load("moods")
    assert calls.server.table.get("moods") is before


@pytest.mark.parametrize("mode", ["none", "poll"])
async def test_other_modes_refuse_control(serve: Serve, repository: Path, mode: str) -> None:
    calls = await serve(repository, control_mode=mode)
    for change in (calls.server.table.load, calls.server.table.unload):
        with pytest.raises(
            ControlError, match=rf"not allowed if polling .*\(--control-mode {mode}\); start the server with"
        ):
            await change("moods")


def test_settings_of_control() -> None:
    settings = parse_settings(["--control-mode", "explicit", "--load-model", "a", "--load-model", "*"])
    assert settings.load_model == ("a", "*")
    with pytest.raises(StartError, match=r"--load-model needs --control-mode explicit; none loads every model"):
        parse_settings(["--load-model", "a"])
    with pytest.raises(StartError, match=r"'\.\./a' cannot name a model"):
        parse_settings(["--control-mode", "explicit", "--load-model", "../a"])
    with pytest.raises(StartError, match=r"--poll-seconds '0'"):
        parse_settings(["--poll-seconds", "0"])


async def test_a_file_that_changes_while_it_is_loaded_does_not_take_over(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path, **EXPLICIT)
    table = calls.server.table
    start_model = table._start_model

    async def meanwhile(*arguments: object) -> object:
        model = await start_model(*arguments)  # type: ignore[arg-type]
        os.utime(file, (0, 0))
        return model

    replace_file(tmp_path, "affine", scaled(3))
    monkeypatch.setattr(table, "_start_model", meanwhile)
    with pytest.raises(LoadError):
        await table.load("affine")
    assert "changed while they were being loaded" in table.find("affine").reason
    assert await factor_of(calls) == 2
    assert await calls.metric("nv_inference_request_success", model="affine", version="1") == 1, "it counts, too"


async def test_a_model_that_was_loaded_in_vain_is_closed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path, **EXPLICIT)
    await factor_of(calls)
    tasks = len(asyncio.all_tasks())

    def fail(_: object) -> None:
        raise OSError("the disk does not answer")

    replace_file(tmp_path, "affine", scaled(3))
    monkeypatch.setattr(turnover, "stamp", fail)
    with pytest.raises(LoadError):
        await calls.server.table.load("affine")
    assert await factor_of(calls) == 2
    await until(lambda: len(asyncio.all_tasks()) == tasks)


async def test_a_reload_under_load_loses_nothing_and_mixes_nothing(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", scaled(0))
    calls = await serve(tmp_path, **EXPLICIT)
    answers: list[float] = []
    reloading = True

    async def ask() -> None:
        while reloading:
            answers.append(await factor_of(calls))

    callers = [asyncio.create_task(ask()) for _ in range(8)]
    for factor in range(1, 6):
        replace_file(tmp_path, "affine", scaled(factor))
        await calls.server.table.load("affine")
        assert await factor_of(calls) == factor, "the load has ended: the new file answers"
        assert await calls.status() == "SERVING"
    reloading = False
    await asyncio.gather(*callers)
    assert set(answers) <= set(range(6))
    assert len(answers) > 20


async def test_the_old_model_finishes_its_requests_and_is_forgotten(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "busy", plain_graphs.busy())
    calls = await serve(tmp_path, **EXPLICIT)
    table = calls.server.table
    old = weakref.ref(table.get("busy"))
    backend = weakref.ref(table.get("busy")._batched._runner._backend)
    running = asyncio.create_task(calls.infer("busy", {"rounds": LONG}))
    await until(lambda: table.get("busy")._batcher._door.seats)
    os.utime(tmp_path / "busy" / "1" / "model.onnx", (1, 1))
    await table.load("busy")
    assert not running.done(), "the new one took over while the old one was at work"
    assert float((await running)["y"][0, 0]) == LONG[0, 0]
    await until(lambda: gc.collect() is not None and old() is None and backend() is None)


async def test_reloading_does_not_grow(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "large", plain_graphs.large(mebibytes=24))
    calls = await serve(tmp_path, **EXPLICIT)
    file = tmp_path / "large" / "1" / "model.onnx"
    sizes = []
    for second in range(8):
        os.utime(file, (second, second))
        await calls.server.table.load("large")
        await until(lambda: not calls.server.table._jobs)
        sizes.append(_resident_mebibytes())
    # The allocator keeps up to a model's worth for a while; what leaks would be there after every reload.
    assert min(sizes[4:]) - min(sizes[:4]) < 24, f"memory grew by more than one model over four reloads: {sizes}"


def _resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20
