"""`python -m service tune`, as operators run it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.errors import StartError
from service.triton import read_model_settings
from service.tuning.command import app
from service.tuning.machine import ThisMachine
from tests import graphs
from tests.cards import image_card
from tests.service import plain_graphs
from tests.service.conftest import add_plain, golden_text_card
from tests.service.processes import running
from zoo import BUNDLED
from zoo.repository import publish


@pytest.fixture
def models(tmp_path: Path) -> Path:
    publish(graphs.text_graph(), golden_text_card(), tmp_path, "moods")
    return tmp_path


def tune(*flags: str | Path) -> Result:
    return CliRunner().invoke(app, ["--device", "cpu", "--seconds", "1", *map(str, flags)], catch_exceptions=False)


@pytest.fixture
def fast_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of two cores on which only two runs at a time, on one thread each, are fast."""
    monkeypatch.setenv("MENAGERIE_COMPUTE_THREADS", "2")
    monkeypatch.setattr("service.models.pace.SHORT_ROW_SECONDS", 0.0)
    times = iter(range(10**9))

    def now(self: ThisMachine) -> float:
        return next(times) / 1000

    def side_by_side(self: ThisMachine, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        done = [job() for job in jobs]
        row_seconds = 1.0 if len(jobs) == 1 else 0.01
        return [(runs, row_seconds * runs * len(next(iter(outputs.values()))), outputs) for runs, _, outputs in done]

    monkeypatch.setattr(ThisMachine, "now", now)
    monkeypatch.setattr(ThisMachine, "side_by_side", side_by_side)


def test_a_quick_run_on_the_real_machine(models: Path, tmp_path: Path) -> None:
    words = ["--repository", models, "--device", "cpu", "--seconds", "1", "--json", tmp_path / "tuned.json"]
    done = subprocess.run(
        [sys.executable, "-m", "service", "tune", *map(str, words)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "moods 1 on cpu: rows/s by the rows of a batch" in done.stdout
    assert "A request of one row takes" in done.stdout
    found = json.loads((tmp_path / "tuned.json").read_text())
    (model,) = found["models"]
    assert (model["name"], model["version"], found["skipped"]) == ("moods", 1, {})
    assert {trial["rows"] for trial in model["measured"]} >= {1}
    assert all(trial["rows_per_second"] > 0 for trial in model["measured"])
    assert model["explanation"]


@pytest.mark.usefixtures("fast_side_by_side")
def test_the_choice_is_written_and_served(models: Path) -> None:
    got = tune("--repository", models, "--write")
    assert got.exit_code == 0, got.output
    assert (
        "2 runs at a time on 1 thread, batches of up to 1: 200 rows/s, 200.00 times the default (1 run at" in got.stdout
    )
    assert "since a core brings more as a run of its own than as a thread of another run." in got.stdout
    assert f"Written to {models}/moods/config.pbtxt: " in got.stdout.replace("\n", "")
    settings = read_model_settings(models / "moods")
    assert (settings.instances, settings.threads) == (2, 1)
    with running("--repository", str(models)) as server:
        server.wait_for("1 of 1 models ready")
    again = tune("--repository", models, "--write")
    assert "The configuration is as good: 2 runs at a time on 1 thread" in again.stdout
    assert "Written" not in again.stdout


@pytest.mark.usefixtures("fast_side_by_side")
def test_pictures_are_run_side_by_side_anyway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.models.pace.SHORT_ROW_SECONDS", 0.0)
    publish(graphs.image_graph(), image_card(), tmp_path, "shades")
    got = tune("--repository", tmp_path, "--write")
    assert "The default is as good: 2 runs at a time on 1 thread" in got.stdout
    assert "--max-batch-size" not in got.stdout
    assert not (tmp_path / "shades" / "config.pbtxt").exists()


@pytest.mark.usefixtures("fast_side_by_side")
def test_what_cannot_be_written_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    got = tune("--repository", BUNDLED, "--model", "load-forecast", "--write")
    assert got.exit_code == 1
    assert "is part of the installed package; copy the model to a folder of yours. What it should say:" in got.stdout
    assert "  instance_group [ { count: 2 kind: KIND_CPU } ]" in got.stdout
    assert not list(BUNDLED.glob("*/config.pbtxt"))


def test_a_broken_model_is_named_and_skipped(models: Path) -> None:
    add_plain(models, "broken", b"not ONNX")
    (models / "no-versions").mkdir()
    got = tune("--repository", models, "--json", models / "tuned.json")
    assert got.exit_code == 1
    assert "moods 1 on cpu" in got.stdout
    assert "broken was skipped" in got.stderr
    assert "no-versions was skipped: no version folder" in got.stderr
    assert set(json.loads((models / "tuned.json").read_text())["skipped"]) == {"broken", "no-versions"}


def test_what_is_known_is_shown_where_it_is_interrupted(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(graphs.text_graph(), golden_text_card(), models, "other")
    looks = iter(range(6))
    real = ThisMachine.side_by_side

    def side_by_side(self: ThisMachine, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        if next(looks, None) is None:
            raise KeyboardInterrupt
        return real(self, jobs)

    monkeypatch.setattr(ThisMachine, "side_by_side", side_by_side)
    got = tune("--repository", models, "--write")
    assert got.exit_code == 130
    assert "moods 1 on cpu" in got.stdout
    assert "Interrupted; not looked at: other. Nothing was written." in got.stderr
    assert not list(models.glob("*/config.pbtxt"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "mods"], r"--model 'mods': there is no such model; did you mean 'moods'\?"),
        (["--model", "zzz"], r"--model 'zzz': there is no such model; there are moods"),
        (["--repository", "empty"], "no models in empty; expected <model>/<version>/model.onnx"),
        (["--device", "gpu"], "--device 'gpu': use auto, cpu, cuda or cuda:N"),
        (["--json", "nowhere/tuned.json"], "--json nowhere/tuned.json: there is no folder nowhere"),
    ],
)
def test_what_is_asked_wrongly(models: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], words: str) -> None:
    monkeypatch.chdir(models)
    (models / "empty").mkdir()
    places = [] if "--repository" in flags else ["--repository", str(models)]
    with pytest.raises(StartError, match=words):
        tune(*places, *flags)


def test_errors_are_one_line(models: Path) -> None:
    words = ["tune", "--repository", str(models), "--model", "mods"]
    done = subprocess.run([sys.executable, "-m", "service", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "menagerie-serve: --model 'mods': there is no such model; did you mean 'moods'?\n"


def test_models_without_a_batch_axis_are_tried_as_they_are(tmp_path: Path) -> None:
    add_plain(tmp_path, "fixed", plain_graphs.affine((4, 3)))
    add_plain(tmp_path, "single", plain_graphs.affine((1, 3)))
    got = tune("--repository", tmp_path, "--json", tmp_path / "tuned.json")
    assert got.exit_code == 0, got.output
    found = json.loads((tmp_path / "tuned.json").read_text())
    assert {trial["rows"] for model in found["models"] for trial in model["measured"]} == {1}
    assert found["max_batch_size"] is None
    assert "--max-batch-size" not in got.stdout
