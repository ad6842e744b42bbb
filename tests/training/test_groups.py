"""What belongs together stays together: in splits, in folds, and in what a published model is measured on."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from tests.training.test_text_training import toy_reviews
from training.data.groups import find_groups, grouped_folds, grouped_split
from training.data.images import read_images, split_images
from training.errors import DataError, SettingsError
from training.experiments.kfold import kfold
from training.experiments.texts import TextTask
from training.settings.experiments import TextFoldSettings
from zoo.card import Resize
from zoo.package import read_card

Train = Callable[..., Result]
LABELS = [item % 2 for item in range(200)]
GROUPS = [f"patient {item // 5}" for item in range(200)]


def check_whole(parts: list[tuple[int, ...]], groups: list[str]) -> None:
    """No group is in two parts, each item in one."""
    places = defaultdict(set)
    for number, part in enumerate(parts):
        for item in part:
            places[groups[item]].add(number)
    assert all(len(found) == 1 for found in places.values())
    assert sorted(item for part in parts for item in part) == list(range(len(groups)))


def test_a_group_is_in_one_part() -> None:
    split = grouped_split(LABELS, GROUPS, validation=0.15, test=0.2, seed=0)
    check_whole(list(split.parts().values()), GROUPS)
    assert [len(part) for part in split.parts().values()] == [130, 30, 40]
    assert Counter(LABELS[item] for item in split.test) == {0: 20, 1: 20}
    assert split.description == (
        "by 40 groups, as stratified by class as they allow, seed 0: 130 train / 30 validation / 40 test"
    )
    assert split == grouped_split(LABELS, GROUPS, validation=0.15, test=0.2, seed=0)
    assert split != grouped_split(LABELS, GROUPS, validation=0.15, test=0.2, seed=1)
    assert grouped_split(LABELS, GROUPS, validation=0, test=0.2, seed=0).validation == ()


def test_folds_of_groups() -> None:
    folds = grouped_folds(LABELS, GROUPS, 4, seed=0)
    check_whole(folds, GROUPS)
    assert [len(fold) for fold in folds] == [50] * 4
    with pytest.raises(DataError, match=r"40 group\(s\) beside the test part are too few for 41 folds"):
        grouped_folds(LABELS, GROUPS, 41, seed=0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=60), st.integers(0, 3))
def test_any_groups_are_kept_whole_or_refused(items: list[tuple[int, int]], seed: int) -> None:
    labels, groups = [label for label, _ in items], [str(group) for _, group in items]
    try:
        split = grouped_split(labels, groups, validation=0.2, test=0.2, seed=seed)
    except DataError:
        return
    check_whole(list(split.parts().values()), groups)
    for part in split.parts().values():
        assert {labels[item] for item in part} == set(labels)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("site", "--group site: there is no such column; the columns are patient"),
        ("(p", r"--group \(p is no regular expression"),
        ("(p)([0-9])", "has 2 pairs of parentheses; it needs one"),
        ("x([0-9]+)", r"--group x\(\[0-9\]\+\) finds no group in a/p1_0.jpg"),
        ("patient", "a/p1_1.jpg has nothing in the column 'patient'"),
    ],
)
def test_rules_that_find_no_groups(rule: str, problem: str) -> None:
    with pytest.raises((SettingsError, DataError), match=problem):
        find_groups(rule, ["a/p1_0.jpg", "a/p1_1.jpg"], [{"patient": "7"}, {"patient": ""}])


def test_data_of_one_group_are_refused() -> None:
    with pytest.raises(DataError, match="all items are of one group"):
        grouped_split([0, 1] * 10, ["one"] * 20, validation=0.2, test=0.2, seed=0)
    labels, groups = [0] * 18 + [1] * 2, [str(item // 2) for item in range(20)]
    with pytest.raises(DataError, match="would have nothing of class 'rare': its items are in too few groups"):
        grouped_split(labels, groups, validation=0.2, test=0.2, seed=0, names=["common", "rare"])


def test_images_by_path_and_by_column(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 12, ("blue", "red"))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    lines = [f"pictures/{name},{name.split('/')[0]},{number % 6}" for number, name in enumerate(files)]
    (tmp_path / "table.csv").write_text("path,label,patient\n" + "\n".join(lines) + "\n")
    resize, quiet = Resize(width_px=8, height_px=8), Console(quiet=True)
    by_column = read_images(tmp_path / "table.csv", resize, console=quiet)
    split = split_images(by_column, validation=0.2, test=0.2, seed=0, group="patient")
    patients = [item.columns["patient"] for item in by_column.items]
    check_whole(list(split.parts().values()), patients)
    by_path = read_images(folder, resize, console=quiet)
    split = split_images(by_path, validation=0.2, test=0.2, seed=0, group="([0-9]+)")
    check_whole(list(split.parts().values()), [item.name.rpartition("/")[2] for item in by_path.items])


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """80 reviews by 20 authors."""
    rows = [f"{text} {i}\t{label}\tauthor {i // 4}" for i, (text, label) in enumerate(toy_reviews(80))]
    path = tmp_path / "reviews.tsv"
    path.write_text("text\tlabel\tauthor\n" + "\n".join(rows) + "\n")
    return path


def test_texts_of_an_author_and_the_model_measured_again(menagerie_train: Train, tmp_path: Path, reviews: Path) -> None:
    small = ["--embedding-size", 4, "--hidden-size", 4, "--epochs", 1, "--test-share", 0.25]
    places = ["--output", tmp_path / "models", "--name", "moods", "--runs", tmp_path / "runs"]
    result = menagerie_train("text", reviews, *small, *places, "--group", "author")
    assert result.exit_code == 0, result.stderr
    file = tmp_path / "models" / "moods" / "1" / "model.onnx"
    card = read_card(file)
    assert card is not None
    assert card.provenance.settings["group"] == "author"
    assert card.provenance.split.startswith("by 20 groups, as stratified by class as they allow, seed 0")
    result = menagerie_train("evaluate", file, reviews, "--runs", tmp_path / "runs")
    assert result.exit_code == 0, result.stderr
    found = f"the test part of the data that moods was trained on: {int(card.test_metrics['test_items'])} texts"
    assert found in " ".join(result.stderr.split())
    result = menagerie_train("text", reviews, *small, *places, "--group", "writer")
    assert result.exit_code == 2
    assert "no column 'writer'; the columns are 'text', 'label', 'author'" in " ".join(result.stderr.split())


def test_folds_of_texts_keep_authors_together(tmp_path: Path, reviews: Path) -> None:
    small = {"embedding_size": 4, "hidden_size": 4, "epochs": 1, "batch_size": 16}
    folds = TextFoldSettings(data=[reviews], runs=tmp_path / "runs", folds=3, device="cpu", group="author", **small)
    outcome = kfold(folds, TextTask(), Console(quiet=True))
    authors = {row["text"]: row["author"] for row in csv.DictReader(reviews.read_text().splitlines(), delimiter="\t")}
    places = defaultdict(set)
    for answer in outcome.answers:
        places[authors[answer["item"]]].add(answer["fold"])
    assert len(places) >= 15
    assert all(len(found) == 1 for found in places.values())
