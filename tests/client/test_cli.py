"""`menagerie-predict`, as a person or a script types it, against a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from service.client.__main__ import main

Predict = Callable[..., tuple[int, str, str]]


@pytest.fixture
def predict(address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Predict:
    def run(*arguments: object, to: str = address) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["menagerie-predict", "--address", to, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in io.StringIO(out)]


def save(path: Path, level: int) -> Path:
    Image.new("RGB", (9, 11), (level, level, level)).save(path)
    return path


def test_many_images_after_one_flag_and_a_broken_one_between(predict: Predict, tmp_path: Path) -> None:
    torn = tmp_path / "torn.png"
    torn.write_bytes(save(tmp_path / "whole.png", 3).read_bytes()[:40])
    files = [save(tmp_path / "a.png", 255), torn, tmp_path / "nothing.png", save(tmp_path / "b.jpg", 0)]
    code, out, _ = predict("--image", *files, "--model", "shades", "--json", "--top-k", 1)
    first, second, third, last = objects(out)
    assert code == 1
    assert first.keys() == {"input", "model", "version", "predictions"}
    assert first["input"] == str(files[0])
    assert first["predictions"][0]["label"] == "bright"
    assert second["input"] == str(torn)
    assert (second["error"]["code"], second["error"]["reason"]) == ("INVALID_ARGUMENT", "IMAGE_INVALID")
    assert third["error"]["reason"] == "FILE_UNREADABLE"
    assert "No such file" in third["error"]["message"]
    assert last["predictions"][0]["label"] == "dark"


def test_texts_keep_their_order_over_several_requests(predict: Predict) -> None:
    texts = ["good", "bad", "meh"] * 40
    code, out, _ = predict("--model", "moods", "--text", *texts, "--json")
    assert code == 0
    assert [item["input"] for item in objects(out)] == texts
    assert {item["predictions"][0]["label"] for item in objects(out)[::3]} == {"glad"}
    assert all(item["version"] == 3 for item in objects(out))
    for item in objects(out):
        probabilities = [score["probability"] for score in item["predictions"]]
        assert probabilities == sorted(probabilities, reverse=True)


def test_a_text_file_is_one_item_a_line_and_an_empty_line_fails_alone(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("good\n\nbad\n")
    code, out, _ = predict("--model", "moods", "--text-file", path, "--json")
    assert code == 1
    assert [item.get("error", {}).get("reason") for item in objects(out)] == [None, "TEXT_EMPTY", None]


def test_a_text_that_begins_with_a_dash(predict: Predict) -> None:
    code, out, _ = predict("--model", "moods", "--text", "-5 degrees, good", "bad", "--json")
    assert code == 0
    assert [item["input"] for item in objects(out)] == ["-5 degrees, good", "bad"]


def test_only_a_newline_ends_a_line_of_a_text_file(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("good\u2028good\x0cgood\r\nbad\x85bad".encode())
    code, out, _ = predict("--model", "moods", "--text-file", path, "--json")
    assert code == 0
    assert [item["input"] for item in objects(out)] == ["good\u2028good\x0cgood", "bad\x85bad"]


def test_standard_input_is_a_text_file(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("good\n나쁘다\n".encode())))
    code, out, _ = predict("--model", "moods", "--text-file", "-", "--json")
    assert code == 0
    assert [item["input"] for item in objects(out)] == ["good", "나쁘다"]


def test_a_series_is_mended_cut_and_continued(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text(
        "when,temperature,load,place\n2024-01-01 03:00,5,40,x\n2024-01-01 00:00,4,10,x\n2024-01-01 02:00,NA,30,x\n"
    )
    code, out, _ = predict("--model", "load", "--series", path, "--json")
    (item,) = objects(out)
    assert code == 0
    assert item == {
        "input": str(path),
        "model": "load",
        "version": 1,
        "times": ["2024-01-01T04:00:00Z", "2024-01-01T05:00:00Z"],
        "forecast": {"load": [40.0, 40.0]},
    }


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("load\n1\n2\n3\n", "TABLE_COLUMN_MISSING", "no column 'temperature'"),
        ("load,temperature\n1,2\n", "SERIES_TOO_SHORT", "1 rows, the model needs 3"),
        ("load,temperature\n1,2\n1,x\n", "TABLE_VALUE_INVALID", "line 3: temperature is 'x'"),
    ],
)
def test_a_bad_series_is_an_error_with_its_reason(
    predict: Predict, tmp_path: Path, text: str, reason: str, words: str
) -> None:
    path = tmp_path / "load.csv"
    path.write_text(text)
    code, out, _ = predict("--model", "load", "--series", path, "--json")
    assert code == 1
    (item,) = objects(out)
    assert item["error"]["reason"] == reason
    assert words in item["error"]["message"]


def test_tables_are_for_people(predict: Predict, tmp_path: Path) -> None:
    code, out, _ = predict("--model", "moods", "--text", "good", "", "bad")
    assert code == 1
    assert "glad" in out
    assert '""' in out
    assert "TEXT_EMPTY" in out
    path = tmp_path / "load.csv"
    path.write_text("load,temperature\n1,2\n3,4\n5.5,6\n")
    code, out, _ = predict("--model", "load", "--series", path)
    assert code == 0
    assert "+1" in out
    assert "5.5" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "moods"], 2, "give one of --image, --text, --text-file, --series; got none"),
        (["--model", "moods", "--text", "a", "--image", "b"], 2, "got --image and --text"),
        (["--text", "a"], 2, "Missing option '--model'"),
        (["--model", "moods", "--text-file", "/nowhere.txt"], 1, "/nowhere.txt: No such file"),
        (["--model", "moods", "--series", "x.csv"], 1, "model moods is no forecaster"),
        (["--model", "cats", "--series", "x.csv"], 1, "no model 'cats'"),
        (["--model", "moods", "--text", "a", "--top-k", "0"], 2, "--top-k"),
    ],
)
def test_wrong_use_is_a_short_error(predict: Predict, arguments: list[str], code: int, words: str) -> None:
    got, _, err = predict(*arguments)
    flat = " ".join(err.replace("│", " ").split())
    assert got == code
    assert words in flat
    assert "Traceback" not in err


def test_a_model_of_another_kind_and_an_unknown_version_fail_every_item(predict: Predict) -> None:
    code, out, _ = predict("--model", "shades", "--text", "a", "b", "--json")
    assert code == 1
    assert [item["error"]["reason"] for item in objects(out)] == ["TASK_MISMATCH"] * 2
    code, out, _ = predict("--model", "moods", "--version", 7, "--text", "a", "--json")
    assert objects(out)[0]["error"]["code"] == "NOT_FOUND"


def test_no_server_is_an_error_of_every_item(predict: Predict) -> None:
    code, out, _ = predict("--model", "moods", "--text", "a", "--json", to="127.0.0.1:1")
    assert code == 1
    assert objects(out)[0]["error"]["reason"] == "SERVER_UNREACHABLE"
