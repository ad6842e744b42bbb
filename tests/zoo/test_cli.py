"""`python -m zoo`, as a person types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cards import forecast_card, image_card, stateful_card, text_card
from tests.graphs import forecast_graph, image_graph, stateful_forecast_graph, text_graph
from tests.zoo.test_golden import IMAGES, SERIES, SUMS
from zoo.__main__ import main
from zoo.card import Golden, GoldenSample, PredictionInterval, SeriesTask
from zoo.repository import publish


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    publish(image_graph(), image_card(IMAGES), tmp_path, "shades")
    publish(text_graph(), text_card(), tmp_path, "moods")
    publish(forecast_graph(), forecast_card(SERIES), tmp_path, "load")
    publish(stateful_forecast_graph(), stateful_card(SUMS), tmp_path, "total")
    return tmp_path


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["menagerie-zoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


def test_list_has_a_row_for_every_version_and_every_problem(repository: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    (repository / "torn" / "1").mkdir(parents=True)
    (repository / "torn" / "1" / "model.onnx").write_bytes(b"torn")
    (repository / "empty").mkdir()
    code, out, _ = zoo("list", "--repository", repository, "--json")
    rows = {row["model"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["shades"]["task"] == "image_classification"
    assert rows["shades"]["test"] == "accuracy 0.75"
    assert "not an ONNX file" in rows["torn"]["description"] or "not a complete" in rows["torn"]["description"]
    assert "no version folder" in rows["empty"]["description"]
    table = zoo("list", "-r", repository)[1].splitlines()
    assert re.match(r"shades 1 +image +accuracy 0.75 +0.0", next(line for line in table if "shades" in line))
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("shades", ["dark, bright", "shorter side to 10 (bilinear), centre crop 8x8", "uint8 [N, 8, 8, 3]"]),
        ("moods", ["sad, glad", "text string [N]", "en"]),
        ("total", ["history float32 [N, 1, 2]", "total float32 [N, 1]"]),
        ("load", ["load (MW), temperature (C)", "2 steps of 3600 s", "float32 [N, 3, 2]"]),
    ],
)
def test_show_tells_what_a_user_needs(repository: Path, zoo, model: str, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = zoo("show", model, "--repository", repository)
    assert code == 0
    for word in [*words, "Apache-2.0", "accuracy", "0.75", "made up", "2024-05-01 12:00 by tests"]:
        assert word in out


def test_show_tells_of_intervals_and_leaves_out_units_that_nobody_gave(tmp_path: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    card = forecast_card(SERIES)
    assert isinstance(card.task, SeriesTask)
    bare = tuple(item.model_copy(update={"unit": ""}) for item in card.task.features)
    interval = PredictionInterval(coverage=0.9, half_widths=((1.0,), (2.0,)))
    task = card.task.model_copy(update={"features": bare, "interval": interval})
    publish(forecast_graph(), card.model_copy(update={"task": task}), tmp_path, "load")
    _, out, _ = zoo("show", "load", "--repository", tmp_path)
    assert re.search(r"features +load, temperature *\n", out)
    assert "around each value, to cover 90% of what comes" in out


def test_show_of_an_unknown_model_names_what_there_is(repository: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    code, _, err = zoo("show", "cats", "--repository", repository)
    assert code == 2
    assert f"no model cats in {repository}; it has load 1, moods 1, shades 1" in err
    assert "version 7" in zoo("show", "moods", "--version", 7, "-r", repository)[2]


def test_verify_reruns_the_golden_samples(repository: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = zoo("verify", "--repository", repository)
    assert code == 0
    assert "shades 1: 2 golden samples reproduced" in out
    wrong = Golden(samples=(GoldenSample(text="good", expected=(0.9, 0.1)),))
    publish(text_graph(), text_card(wrong), repository, "moods")
    code, out, _ = zoo("verify", "moods", "--repository", repository)
    assert code == 1
    assert "moods 2: golden sample 0: probabilities is [0.00033535, 0.99966], the card expects [0.9, 0.1]" in out


def test_a_repository_that_is_not_there_is_one_line(tmp_path: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    code, _, err = zoo("list", "--repository", tmp_path / "nowhere")
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_model_that_cannot_be_used_is_named_with_the_reason(repository: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    (repository / "half" / "1").mkdir(parents=True)
    for command in ("show", "verify"):
        code, out, err = zoo(command, "half", "-r", repository)
        assert (code, out) == (2, "")
        assert f"half cannot be used: no file model.onnx in {repository}/half/1" in err


def test_a_file_without_a_card_is_shown_as_such(tmp_path: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "plain" / "1").mkdir(parents=True)
    (tmp_path / "plain" / "1" / "model.onnx").write_bytes(text_graph())
    assert "plain/1/model.onnx has no card" in zoo("show", "plain", "-r", tmp_path)[2]
    assert zoo("show", "plain", "--json", "-r", tmp_path) == (0, "null\n", "")
    assert "(no card)" in zoo("list", "--json", "-r", tmp_path)[1]


def test_nothing_to_verify_is_no_success(repository: Path, tmp_path_factory: pytest.TempPathFactory, zoo) -> None:  # type: ignore[no-untyped-def]
    empty = tmp_path_factory.mktemp("empty")
    assert zoo("verify", "-r", empty)[::2] == (2, f"error: no model in {empty}; it has nothing\n")
    code, _, err = zoo("verify", "--version", 7, "-r", repository)
    assert code == 2
    assert "no model version 7 in" in err


def test_a_card_of_another_graph_costs_only_its_model(repository: Path, zoo) -> None:  # type: ignore[no-untyped-def]
    publish(text_graph(), image_card(IMAGES), repository, "mixed")
    code, out, _ = zoo("verify", "-r", repository)
    assert code == 1
    assert "mixed 1: the graph does not run as the card says: Required inputs" in out
    assert "total 1: " in out


def test_a_full_disk_behind_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run([sys.executable, "-m", "zoo", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (2, "error: No space left on device\n")
