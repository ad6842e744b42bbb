"""The ledger that counts how often the test part of which data was looked at."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cards import image_card
from tests.training.conftest import Result
from training.hashing import file_sha256, manifest_hash
from training.reports.making import write_report
from training.reports.page import Page
from training.runs import LEDGER_FILE, count_test_use, describe_uses
from zoo.package import read_card
from zoo.repository import MODEL_FILE, publish

Train = Callable[..., Result]


def rows(runs: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((runs / LEDGER_FILE).read_text().splitlines()))


def test_every_run_that_publishes_looks_once(published_folder: Path) -> None:
    found = rows(published_folder / "runs")
    for name, count in {"colours": 1, "moods": 1, "weather": 1, "stream": 2}.items():
        card = read_card(published_folder / "zoo" / name / "1" / MODEL_FILE)
        assert card
        assert card.provenance.test_uses == count
        of_run = [row for row in found if row["by"] == card.provenance.run]
        assert [(row["data_sha256"], row["split"]) for row in of_run] == [
            (card.provenance.data_sha256, card.provenance.split)
        ]


def test_measuring_again_counts(menagerie_train: Train, published_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copy(published_folder / "runs" / LEDGER_FILE, tmp_path / "runs")
    arguments = (published_folder / "zoo" / "moods" / "1", published_folder / "moods.tsv", "--runs", tmp_path / "runs")
    result = menagerie_train("evaluate", *arguments)
    assert "2nd look at the test part of these data that was counted; what was chosen by earlier ones" in " ".join(
        result.stderr.split()
    )
    assert rows(tmp_path / "runs")[-1]["by"] == "evaluate moods 1"
    before = len(rows(tmp_path / "runs"))
    assert menagerie_train("evaluate", *arguments, "--part", "validation").exit_code == 0
    assert len(rows(tmp_path / "runs")) == before
    (tmp_path / "file").touch()
    result = menagerie_train("evaluate", *arguments[:2], "--runs", tmp_path / "file")
    assert result.exit_code == 2
    assert "cannot be written: File exists; name another folder with --runs" in " ".join(result.stderr.split())


@pytest.mark.parametrize(("name", "file"), [("moods", "moods.tsv"), ("weather", "weather.csv")])
def test_data_are_known_by_their_content(
    menagerie_train: Train, published_folder: Path, tmp_path: Path, name: str, file: str
) -> None:
    renamed = tmp_path / f"renamed{Path(file).suffix}"
    shutil.copy(published_folder / file, renamed)
    model = published_folder / "zoo" / name / "1" / MODEL_FILE
    card = read_card(model)
    assert card
    assert card.provenance.data_sha256 == file_sha256(renamed)
    for data, look in ((published_folder / file, "1st"), (renamed, "2nd")):
        result = menagerie_train("evaluate", model, data, "--runs", tmp_path / "runs")
        said = " ".join(result.stderr.split())
        assert f"the test part of the data that {name} was trained on" in said
        assert f"{look} look at the test part" in said


def test_cards_with_names_of_files_in_their_hash_are_still_understood(
    menagerie_train: Train, published_folder: Path, tmp_path: Path
) -> None:
    data, model = published_folder / "moods.tsv", published_folder / "zoo" / "moods" / "1" / MODEL_FILE
    card = read_card(model)
    assert card
    hashed = manifest_hash([("moods.tsv", file_sha256(data))])
    provenance = card.provenance.model_copy(update={"data_sha256": hashed})
    publish(model.read_bytes(), card.model_copy(update={"provenance": provenance}), tmp_path / "zoo", "moods")
    result = menagerie_train("evaluate", tmp_path / "zoo" / "moods", data, "--runs", tmp_path / "runs")
    assert "the test part of the data that moods was trained on" in " ".join(result.stderr.split())


def test_other_data_are_counted_for_themselves(tmp_path: Path) -> None:
    counts = [count_test_use(tmp_path, sha256, "by, class", "run") for sha256 in ("a", "b", "a", "a")]
    assert counts == [1, 1, 2, 3]
    assert [row["split"] for row in rows(tmp_path)] == ["by, class"] * 4


@pytest.mark.parametrize(("count", "words"), [(1, "1st"), (2, "2nd"), (11, "11th"), (22, "22nd"), (113, "113th")])
def test_in_words(count: int, words: str) -> None:
    assert describe_uses(count).startswith(f"{words} look at the test part")


def test_the_report_says_it(tmp_path: Path) -> None:
    card = image_card()
    provenance = card.provenance.model_copy(update={"test_uses": 7})
    report = write_report(Page("colours"), card.model_copy(update={"provenance": provenance}), tmp_path)
    assert "7, this one included; see test-uses.csv" in report.read_text()
