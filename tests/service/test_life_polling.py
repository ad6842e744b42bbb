"""How models come and go by polling: the server follows its repositories, and outlives what is wrong with them."""

from __future__ import annotations

import asyncio
import errno
import logging
import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest

from service import loader
from service.errors import OutOfMemoryError
from service.models.entry import State
from service.models.polling import Retries
from tests import cards, graphs
from tests.service import stateful_graphs
from tests.service.calls import failure, until
from tests.service.conftest import Serve, add_plain
from tests.service.scaled_models import factor_of, replace_file, scaled, states_of
from tests.service.triton_layout import add_model
from zoo.repository import publish

POLL = {"control_mode": "poll", "poll_seconds": 0.05}
TEN = np.float32(10).tobytes()


async def test_nothing_changes_without_polling(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path)
    add_plain(tmp_path, "affine", scaled(3), version=2)
    await asyncio.sleep(0.2)
    assert states_of(calls.server.table) == {1: State.READY}


async def test_new_changed_and_removed_versions(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path, **POLL)
    table = calls.server.table
    add_plain(tmp_path, "affine", scaled(3), version=2)
    await until(lambda: states_of(table) == {1: State.READY, 2: State.READY})
    assert await factor_of(calls) == 3
    before = table.get("affine", 2)
    replace_file(tmp_path, "affine", scaled(4), version=2)
    await until(lambda: table.get("affine", 2) is not before)
    assert await factor_of(calls) == 4
    shutil.rmtree(tmp_path / "affine" / "2")
    await until(lambda: states_of(table) == {1: State.READY})
    assert 'version="2"' not in await calls.scrape(), "what is gone for good leaves no series behind"
    assert await factor_of(calls) == 2
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    await until(lambda: table.versions("moods"))
    shutil.rmtree(tmp_path / "affine")
    await until(lambda: not table.versions("affine"))
    assert (await failure(calls.infer("affine", {}))).code is grpc.StatusCode.NOT_FOUND
    assert (await calls.classify_texts("good")).results


async def test_a_new_version_that_fails_is_reported_while_the_old_one_serves(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path, **POLL)
    table = calls.server.table
    add_plain(tmp_path, "affine", b"broken", version=2)
    await until(lambda: states_of(table) == {1: State.READY, 2: State.FAILED})
    assert await factor_of(calls) == 2
    old = table.get("affine", 1)
    replace_file(tmp_path, "affine", b"broken too", version=1)
    await until(lambda: table.find("affine", 1).reason)
    assert table.get("affine", 1) is old
    assert await calls.status() == "SERVING"
    replace_file(tmp_path, "affine", scaled(5), version=2)
    await until(lambda: table.find("affine", 2).state is State.READY)
    assert await factor_of(calls) == 5


async def test_a_configuration_that_changes_is_followed(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    table = (await serve(tmp_path, **POLL)).server.table
    (tmp_path / "affine" / "config.pbtxt").write_text("max_batch_size: 3")
    await until(lambda: table.get("affine").max_batch_rows == 3)
    (tmp_path / "affine" / "config.pbtxt").write_text("max_batch_size: many")
    await until(lambda: table.find("affine").reason)
    assert table.get("affine").max_batch_rows == 3


async def test_a_file_that_is_being_written_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "moods", scaled(2))
    calls = await serve(tmp_path, **POLL)
    data = scaled(7)
    file = add_plain(tmp_path, "affine", b"")
    with file.open("wb", buffering=0) as writer:
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.002)
            assert not calls.server.table.versions("affine") or writer.tell() == len(data)
    await until(lambda: calls.server.table.versions("affine"))
    await until(lambda: calls.server.table.find("affine").state is State.READY)
    assert await calls.metric("menagerie_model_loads_total", model="affine", outcome="failed") == 0
    assert await factor_of(calls) == 7


async def test_a_half_file_that_stays_so_is_refused_until_it_is_whole(serve: Serve, tmp_path: Path) -> None:
    calls = await serve(tmp_path, **POLL)
    data = scaled(7)
    file = add_plain(tmp_path, "affine", data[: len(data) // 2])
    table = calls.server.table
    await until(lambda: table.versions("affine") and table.find("affine").state is State.FAILED)
    assert "not a complete ONNX file" in table.find("affine").reason
    with file.open("ab") as writer:
        writer.write(data[len(data) // 2 :])
    await until(lambda: table.find("affine").state is State.READY)
    assert await factor_of(calls) == 7


async def test_a_repository_that_disappears_changes_nothing(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository = tmp_path / "repository"
    add_plain(repository, "affine", scaled(2))
    calls = await serve(repository, **POLL)
    away = repository.rename(tmp_path / "away")
    await until(lambda: "cannot be read as a model repository" in caplog.text)
    assert await factor_of(calls) == 2
    repository.mkdir()  # as an empty mount point
    await until(lambda: "is a volume missing?" in caplog.text)
    assert await factor_of(calls) == 2
    assert await calls.status() == "SERVING"
    repository.rmdir()
    add_plain(away, "affine", scaled(3), version=2)
    with caplog.at_level(logging.INFO):
        away.rename(repository)
        await until(lambda: "can be read again" in caplog.text)
    await until(lambda: states_of(calls.server.table) == {1: State.READY, 2: State.READY})
    assert await calls.metric("menagerie_poll_failures_total") >= 2
    assert len([line for line in caplog.messages if "cannot be read" in line]) <= 2, "a complaint is not repeated"


async def test_a_folder_that_cannot_be_looked_at_is_a_trouble_of_its_model_alone(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path, **POLL)
    is_dir = Path.is_dir

    def stale(path: Path) -> bool:
        if path == tmp_path / "affine" / "warmup":
            raise OSError(errno.ESTALE, "Stale file handle")
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", stale)
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    await until(lambda: [model for model in calls.server.table.ready() if model.name == "moods"])
    assert await factor_of(calls) == 2
    assert "This is a bug" not in caplog.text


async def test_what_failed_is_tried_again_though_its_files_are_the_same(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_plain(tmp_path, "affine", scaled(2))
    calls = await serve(tmp_path, **POLL)
    table = calls.server.table
    start_model, attempts, healed = table._start_model, [], False

    async def fail(*arguments: object) -> object:
        if healed:
            return await start_model(*arguments)  # type: ignore[arg-type]
        attempts.append(None)
        raise OSError("the disk does not answer") if len(attempts) > 2 else OutOfMemoryError("no room for the weights")

    monkeypatch.setattr(table, "_start_model", fail)
    replace_file(tmp_path, "affine", scaled(3))
    await until(lambda: len(attempts) == 5)
    assert table.find("affine").reason.endswith("unexpected OSError; see the log")
    assert await factor_of(calls) == 2
    healed = True
    await until(lambda: table.find("affine").reason == "")
    assert await factor_of(calls) == 3
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
    add_plain(tmp_path, "affine", scaled(2))
    with monkeypatch.context() as patch:
        patch.setattr(loader, "load_model", lambda *_, **__: _raise(OutOfMemoryError("no room")))
        calls = await serve(tmp_path, **POLL)
        assert states_of(calls.server.table) == {1: State.FAILED}
    await until(calls.server.table.ready)
    assert await factor_of(calls) == 2


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
    for name, data in {"labels.txt": b"all", "initial_state/total": TEN, "warmup/INPUT": TEN}.items():
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
