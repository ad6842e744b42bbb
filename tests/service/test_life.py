"""How models come and go: on request, by polling, in one step, and with their memory given back."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import weakref
from pathlib import Path

import grpc
import numpy as np
import pytest

from service import loader
from service.errors import ControlError, LoadError, ModelNotFoundError, OutOfMemoryError, StartError
from service.flags import parse_settings
from service.models.entry import IndexRow, State
from service.models.model_table import ModelTable
from service.models.polling import Retries
from tests import cards, graphs
from tests.service import plain_graphs, stateful_graphs
from tests.service.calls import Calls, failure, until
from tests.service.conftest import Serve, add_plain
from tests.service.triton_layout import add_model
from zoo.errors import RepositoryError
from zoo.repository import publish

LONG = np.array([[1_000_000]], np.int64)
"""Rounds that keep the model busy for some tenths of a second."""
POLL = {"control_mode": "poll", "poll_seconds": 0.05}
EXPLICIT = {"control_mode": "explicit", "load_model": ("*",)}


def _scaled(factor: float) -> bytes:
    """y = factor x + 1, whose answer tells which file runs."""
    return plain_graphs.affine(factor=factor)


async def _factor(calls: Calls, model: str = "affine") -> float:
    answer = await calls.infer(model, {"x": np.ones((1, 3), np.float32)})
    return round(float(answer["y"][0, 0]) - 1, 3)


def _states(table: ModelTable) -> dict[int, State]:
    return {entry.version: entry.state for entry in table.entries()}


def _replace(repository: Path, name: str, data: bytes, version: int = 1) -> None:
    """Publish a file over another one, by renaming."""
    folder = repository / name / str(version)
    (folder / ".aside").write_bytes(data)
    (folder / ".aside").replace(folder / "model.onnx")


# --- on request ---


async def test_only_what_is_named_is_loaded_at_the_start(serve: Serve, repository: Path) -> None:
    calls = await serve(repository, control_mode="explicit", load_model=("moods",))
    assert [entry.name for entry in calls.server.table.entries()] == ["moods"]
    assert (await failure(calls.infer("affine", {}))).code is grpc.StatusCode.NOT_FOUND
    rows = await calls.server.table.index()
    assert rows[0] == IndexRow("moods", 1, "READY")
    assert IndexRow("affine") in rows
    await calls.server.table.load("affine")
    assert await _factor(calls) == 2


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
    add_plain(tmp_path, "affine", _scaled(2))
    calls = await serve(tmp_path, **EXPLICIT)
    table = calls.server.table
    _replace(tmp_path, "affine", b"broken")
    with pytest.raises(LoadError, match="failed to load 'affine', failed to poll from model repository"):
        await table.load("affine")
    assert await _factor(calls) == 2
    (row,) = await table.index()
    assert (row.state, row.reason.partition(";")[0]) == ("READY", "serves on with its former files")
    with pytest.raises(LoadError):
        await table.load("nobody")
    with pytest.raises(ModelNotFoundError):
        await table.unload("nobody")
    _replace(tmp_path, "affine", _scaled(3))
    await table.load("affine")
    assert (await table.index()) == [IndexRow("affine", 1, "READY")]
    assert await _factor(calls) == 3
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


# --- by polling ---


async def test_nothing_changes_without_polling(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", _scaled(2))
    calls = await serve(tmp_path)
    add_plain(tmp_path, "affine", _scaled(3), version=2)
    await asyncio.sleep(0.2)
    assert _states(calls.server.table) == {1: State.READY}


async def test_new_changed_and_removed_versions(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", _scaled(2))
    calls = await serve(tmp_path, **POLL)
    table = calls.server.table
    add_plain(tmp_path, "affine", _scaled(3), version=2)
    await until(lambda: _states(table) == {1: State.READY, 2: State.READY})
    assert await _factor(calls) == 3
    before = table.get("affine", 2)
    _replace(tmp_path, "affine", _scaled(4), version=2)
    await until(lambda: table.get("affine", 2) is not before)
    assert await _factor(calls) == 4
    shutil.rmtree(tmp_path / "affine" / "2")
    await until(lambda: _states(table) == {1: State.READY})
    assert 'version="2"' not in await calls.scrape(), "what is gone for good leaves no series behind"
    assert await _factor(calls) == 2
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    await until(lambda: table.versions("moods"))
    shutil.rmtree(tmp_path / "affine")
    await until(lambda: not table.versions("affine"))
    assert (await failure(calls.infer("affine", {}))).code is grpc.StatusCode.NOT_FOUND
    assert (await calls.classify_texts("good")).results


async def test_a_new_version_that_fails_is_reported_while_the_old_one_serves(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", _scaled(2))
    calls = await serve(tmp_path, **POLL)
    table = calls.server.table
    add_plain(tmp_path, "affine", b"broken", version=2)
    await until(lambda: _states(table) == {1: State.READY, 2: State.FAILED})
    assert await _factor(calls) == 2
    old = table.get("affine", 1)
    _replace(tmp_path, "affine", b"broken too", version=1)
    await until(lambda: table.find("affine", 1).reason)
    assert table.get("affine", 1) is old
    assert await calls.status() == "SERVING"
    _replace(tmp_path, "affine", _scaled(5), version=2)
    await until(lambda: table.find("affine", 2).state is State.READY)
    assert await _factor(calls) == 5


async def test_a_configuration_that_changes_is_followed(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", _scaled(2))
    table = (await serve(tmp_path, **POLL)).server.table
    (tmp_path / "affine" / "config.pbtxt").write_text("max_batch_size: 3")
    await until(lambda: table.get("affine").max_batch_rows == 3)
    (tmp_path / "affine" / "config.pbtxt").write_text("max_batch_size: many")
    await until(lambda: table.find("affine").reason)
    assert table.get("affine").max_batch_rows == 3


async def test_a_file_that_is_being_written_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "moods", _scaled(2))
    calls = await serve(tmp_path, **POLL)
    data = _scaled(7)
    file = add_plain(tmp_path, "affine", b"")
    with file.open("wb", buffering=0) as writer:
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.002)
            assert not calls.server.table.versions("affine") or writer.tell() == len(data)
    await until(lambda: calls.server.table.versions("affine"))
    await until(lambda: calls.server.table.find("affine").state is State.READY)
    assert await calls.metric("menagerie_model_loads_total", model="affine", outcome="failed") == 0
    assert await _factor(calls) == 7


async def test_a_half_file_that_stays_so_is_refused_until_it_is_whole(serve: Serve, tmp_path: Path) -> None:
    calls = await serve(tmp_path, **POLL)
    data = _scaled(7)
    file = add_plain(tmp_path, "affine", data[: len(data) // 2])
    table = calls.server.table
    await until(lambda: table.versions("affine") and table.find("affine").state is State.FAILED)
    assert "not a complete ONNX file" in table.find("affine").reason
    with file.open("ab") as writer:
        writer.write(data[len(data) // 2 :])
    await until(lambda: table.find("affine").state is State.READY)
    assert await _factor(calls) == 7


async def test_a_file_that_changes_while_it_is_loaded_does_not_take_over(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = add_plain(tmp_path, "affine", _scaled(2))
    calls = await serve(tmp_path, **EXPLICIT)
    table = calls.server.table
    start_model = table._start_model

    async def meanwhile(*arguments: object) -> object:
        model = await start_model(*arguments)  # type: ignore[arg-type]
        os.utime(file, (0, 0))
        return model

    _replace(tmp_path, "affine", _scaled(3))
    monkeypatch.setattr(table, "_start_model", meanwhile)
    with pytest.raises(LoadError):
        await table.load("affine")
    assert "changed while they were being loaded" in table.find("affine").reason
    assert await _factor(calls) == 2
    assert await calls.metric("nv_inference_request_success", model="affine", version="1") == 1, "it counts, too"


async def test_a_repository_that_disappears_changes_nothing(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository = tmp_path / "repository"
    add_plain(repository, "affine", _scaled(2))
    calls = await serve(repository, **POLL)
    away = repository.rename(tmp_path / "away")
    await until(lambda: "cannot be read as a model repository" in caplog.text)
    assert await _factor(calls) == 2
    repository.mkdir()  # as an empty mount point
    await until(lambda: "is a volume missing?" in caplog.text)
    assert await _factor(calls) == 2
    assert await calls.status() == "SERVING"
    repository.rmdir()
    add_plain(away, "affine", _scaled(3), version=2)
    with caplog.at_level(logging.INFO):
        away.rename(repository)
        await until(lambda: "can be read again" in caplog.text)
    await until(lambda: _states(calls.server.table) == {1: State.READY, 2: State.READY})
    assert await calls.metric("menagerie_poll_failures_total") >= 2
    assert len([line for line in caplog.messages if "cannot be read" in line]) <= 2, "a complaint is not repeated"


async def test_what_failed_is_tried_again_though_its_files_are_the_same(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_plain(tmp_path, "affine", _scaled(2))
    calls = await serve(tmp_path, **POLL)
    table = calls.server.table
    start_model, attempts, healed = table._start_model, [], False

    async def fail(*arguments: object) -> object:
        if healed:
            return await start_model(*arguments)  # type: ignore[arg-type]
        attempts.append(None)
        raise OSError("the disk does not answer") if len(attempts) > 2 else OutOfMemoryError("no room for the weights")

    monkeypatch.setattr(table, "_start_model", fail)
    _replace(tmp_path, "affine", _scaled(3))
    await until(lambda: len(attempts) == 5)
    assert table.find("affine").reason.endswith("unexpected OSError; see the log")
    assert await _factor(calls) == 2
    healed = True
    await until(lambda: table.find("affine").reason == "")
    assert await _factor(calls) == 3
    failures = [line for line in caplog.messages if "failed: " in line]
    assert [line.rpartition(": ")[2] for line in failures] == [
        "no room for the weights",
        "unexpected OSError; see the log",
    ], "one line for each reason, not for each attempt"
    await asyncio.sleep(0.2)
    assert await calls.metric("menagerie_model_loads_total", model="affine", outcome="ready") == 2


async def test_what_failed_at_the_start_is_tried_again(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_plain(tmp_path, "affine", _scaled(2))
    with monkeypatch.context() as patch:
        patch.setattr(loader, "load_model", lambda *_, **__: _raise(OutOfMemoryError("no room")))
        calls = await serve(tmp_path, **POLL)
        assert _states(calls.server.table) == {1: State.FAILED}
    await until(calls.server.table.ready)
    assert await _factor(calls) == 2


def _raise(error: Exception) -> None:
    raise error


def test_the_pauses_between_attempts_grow() -> None:
    now = 0.0
    retries = Retries(15, clock=lambda: now)
    pauses = []
    for _ in range(7):
        retries.failed("affine")
        start = now
        while not retries.due():
            now += 1
        pauses.append(now - start)
    assert pauses == [15, 30, 60, 120, 240, 300, 300]
    retries.forget("affine")
    assert retries.due() == []
    retries.failed("affine")
    now += 15
    assert retries.due() == ["affine"], "after a success the next failure is the first one"


@pytest.mark.parametrize("file", ["labels.txt", "initial_state/total", "warmup/INPUT"])
async def test_every_file_that_a_configuration_names_is_followed(serve: Serve, tmp_path: Path, file: str) -> None:
    config = """
        max_batch_size: 4
        output [
          { name: "OUTPUT" data_type: TYPE_FP32 dims: [ 1 ] label_filename: "labels.txt" },
          { name: "FACTS" data_type: TYPE_INT64 dims: [ 1 ] }
        ]
        sequence_batching {
          control_input [
            { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
            { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
            { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } ] }
          ]
          state {
            input_name: "STATE_IN" output_name: "STATE_OUT" data_type: TYPE_FP32 dims: [ 1 ]
            initial_state { name: "ten" data_type: TYPE_FP32 dims: [ 1 ] data_file: "total" }
          }
        }
        model_warmup {
          name: "one" batch_size: 1
          inputs { key: "INPUT" value { data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "INPUT" } }
        }
    """
    folder = add_model(tmp_path, "accumulate", config, stateful_graphs.accumulator())
    for name, data in {"labels.txt": b"all", "initial_state/total": _FLOAT, "warmup/INPUT": _FLOAT}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    table = (await serve(tmp_path, **POLL)).server.table
    before = table.get("accumulate")
    (folder / file).write_bytes(b"some" if file == "labels.txt" else np.float32(11).tobytes())
    await until(lambda: table.get("accumulate") is not before)
    if file == "labels.txt":
        assert table.get("accumulate").labels_of("OUTPUT") == ("some",)
    (folder / file).unlink()
    await until(lambda: table.find("accumulate").reason)
    assert file.rpartition("/")[2] in table.find("accumulate").reason


_FLOAT = np.float32(10).tobytes()


# --- in one step, and with the memory given back ---


async def test_a_reload_under_load_loses_nothing_and_mixes_nothing(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", _scaled(0))
    calls = await serve(tmp_path, **EXPLICIT)
    answers: list[float] = []
    reloading = True

    async def ask() -> None:
        while reloading:
            answers.append(await _factor(calls))

    callers = [asyncio.create_task(ask()) for _ in range(8)]
    for factor in range(1, 6):
        _replace(tmp_path, "affine", _scaled(factor))
        await calls.server.table.load("affine")
        assert await _factor(calls) == factor, "the load has ended: the new file answers"
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
    backend = weakref.ref(table.get("busy")._runner._backend)
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
