"""What is wrong with the places and the parts of a command is told before anything is trained, or looked at."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import Result
from tests.training.test_text_training import toy_reviews
from training.evaluation.forecasts import shortened
from training.experiments.texts import TextTask
from training.files import write_whole
from training.pipelines.measured import Score
from training.runs import LEDGER_FILE, TrainingRun
from training.settings import TextSettings

Train = Callable[..., Result]
TINY = ("--backbone", "small_cnn", "--mode", "scratch", "--weights", "none", "--image-size", 16, "--workers", 0)


def error_of(result: Result) -> str:
    assert result.exit_code == 2
    return " ".join(result.stderr.split())


def test_a_repository_that_cannot_be_written_is_told_first(
    menagerie_train: Train, published_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    zoo, data = published_folder / "zoo", published_folder / "colours"
    first, second = zoo / "colours" / "1", zoo / "colours" / "2"
    named = ("--output", tmp_path / "file", "--name", "x")
    for command in (
        ("image", data, *TINY, *named),
        ("ensemble", data, "--model", first, "--model", second, *named),
        ("quantize", first / "model.onnx", data, "--int8", *named),
        ("pretrained", "resnet18", *named),
    ):
        result = menagerie_train(*command, *(("--runs", tmp_path / "runs") if command[0] != "pretrained" else ()))
        assert f"--output {tmp_path / 'file'}: {tmp_path / 'file'} is a file; name a folder" in error_of(result)
    taken = ("--output", zoo, "--name", "colours", "--version", 1, "--runs", tmp_path / "runs")
    assert "has a version 1 of colours; leave --version out" in error_of(menagerie_train("image", data, *TINY, *taken))
    assert not (tmp_path / "runs").exists()
    result = menagerie_train("image", data, *TINY, "--output", "zoo", "--name", "x", "--runs", tmp_path / "file")
    assert f"--runs {tmp_path / 'file'} cannot be written: Not a directory; name another folder" in error_of(result)
    (run,) = (published_folder / "runs" / "colours").iterdir()
    picture = next((data / "red").iterdir())
    result = menagerie_train("visualize", run, picture, "--output", tmp_path / "file")
    assert f"--output {tmp_path / 'file'} cannot be made: File exists" in error_of(result)
    result = menagerie_train("kfold", "image", "--resume", run)
    assert "is the folder of a training, not of an experiment" in error_of(result)


def test_what_is_missing_is_told_before_a_look_at_the_test_part(
    menagerie_train: Train, published_folder: Path, tmp_path: Path
) -> None:
    zoo, moods = published_folder / "zoo", published_folder / "moods.tsv"
    where = ("--runs", tmp_path / "runs")
    result = menagerie_train("evaluate", zoo / "moods", moods, "--against", zoo / "colours", *where)
    assert "is for image_classification, not for text_classification" in error_of(result)
    result = menagerie_train("evaluate", zoo / "moods", moods, "--validation-file", moods, *where)
    assert "'moods' was not validated on a file of its own; leave out --validation-file" in error_of(result)
    assert not (tmp_path / "runs" / LEDGER_FILE).exists()
    result = menagerie_train("evaluate", zoo / "moods", moods, "--server", "a:b:c", *where)
    assert "the server a:b:c gives no answer" in error_of(result)  # a terminal makes a sign of :b:
    result = menagerie_train("pretrained", "resnet18", "--output", tmp_path, "--weights", "none")
    assert "give --weights pretrained or FILE" in error_of(result)
    result = menagerie_train("pretrained", "resnet18", "--output", tmp_path, "--golden", tmp_path / "no.jpg")
    assert f"--golden {tmp_path / 'no.jpg'} cannot be read: No such file" in error_of(result)


def test_modes_and_parts_are_checked_before_the_first_training(
    menagerie_train: Train, published_folder: Path, tmp_path: Path
) -> None:
    where = ("--output", tmp_path / "zoo", "--name", "x", "--runs", tmp_path / "runs")
    modes = ("--modes", "scratch", "--modes", "freeze")
    result = menagerie_train("compare", published_folder / "colours", *TINY, *where, *modes)
    assert "--modes freeze starts from trained weights" in error_of(result)
    assert not (tmp_path / "runs").exists()
    result = menagerie_train("image", published_folder / "colours", *TINY, *where, "--validation", 0)
    assert "there is no validation part, which chooses the best epoch; give --validation a share" in error_of(result)
    table, small = published_folder / "weather.csv", ("--target", "temperature", "--window", 24, "--horizon", 3)
    result = menagerie_train("series", table, *small, *where, "--calendar", "hour,hour")
    assert "hour is named twice; name it once" in error_of(result)
    result = menagerie_train("ablate", "series", table, *small, "--without", "horizon=1")
    assert "horizon is the same in all trainings of an experiment" in error_of(result)


def test_runs_with_other_seeds_have_the_same_folds_on_one_split(tmp_path: Path) -> None:
    reviews = tmp_path / "reviews.txt"
    reviews.write_text("".join(f"{text} {i}\t{label}\n" for i, (text, label) in enumerate(toy_reviews(60))))
    task, folds = TextTask(), []
    for seeds in ({"seed": 3}, {"seed": 4, "split_seed": 3}, {"seed": 4}):
        settings = TextSettings(data=[reviews], output=tmp_path, name="x", **seeds)
        folds.append([fold.validation for fold in task.folds(settings, task.read(settings, TrainingRun(settings)), 3)])
    assert folds[0] == folds[1] != folds[2]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_whole(path, "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line(menagerie_train: Train, published_folder: Path, tmp_path: Path) -> None:
    where = ("--output", tmp_path / "zoo", "--name", "x", "--runs", tmp_path / "runs")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        result = menagerie_train("image", published_folder / "colours", *TINY, *where)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "error: File too large; what was written before is whole: make room" in error_of(result)
    (folder,) = (tmp_path / "runs" / "x").iterdir()
    assert not list(folder.iterdir())


def test_errors_in_small_units_are_not_rounded_to_nothing() -> None:
    assert shortened(1.234567891e-7) == 1.234568e-7
    nothing, something = (Score({"mae": value}, "mae", lower_is_better=True) for value in (0.0, 1.0))
    assert nothing.drop_from(nothing) == 0
    assert something.drop_from(nothing) == float("inf")
