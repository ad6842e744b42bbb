"""`python -m training evaluate --gate`: limits in a file, and an exit code that says whether they are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import Result
from training.pipelines.published.limits import Limit, Limits, check_limits

Train = Callable[..., Result]


def test_a_model_that_keeps_its_limits(menagerie_train: Train, published_folder: Path, tmp_path: Path) -> None:
    zoo = published_folder / "zoo"
    gate = tmp_path / "gate.yaml"
    gate.write_text(
        f"against: {zoo}/weather/1\nmae: {{worse_by_at_most: 0}}\nsize_mb: {{at_most: 5}}\n"
        "latency_p95_ms:\n  at_most: 10000\ninterval_coverage: {at_least: 0.5, at_most: 1}\n"
    )
    arguments = (zoo / "weather" / "1", published_folder / "weather.csv")
    result = menagerie_train("evaluate", *arguments, "--gate", gate, "--result", tmp_path / "result.json")
    assert result.exit_code == 0, result.stderr
    assert "all limits kept" in result.stdout
    checks = json.loads((tmp_path / "result.json").read_text())["gate"]
    names = ["mae", "size_mb", "latency_p95_ms", "interval_coverage", "interval_coverage"]
    assert [check["figure"] for check in checks] == names
    assert all(check["passed"] for check in checks)


def test_one_that_does_not(menagerie_train: Train, published_folder: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text("[accuracy]\nat_least = 1.1\n[size_mb]\nat_most = 50\n")
    arguments = (published_folder / "zoo" / "moods", published_folder / "moods.tsv", "--gate", gate)
    result = menagerie_train("evaluate", *arguments)
    assert result.exit_code == 1
    assert "1 of 2 limits not kept" in result.stdout
    failed = [line for line in result.stdout.splitlines() if "FAILED" in line]
    assert len(failed) == 1
    assert "at least 1.1" in failed[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("accuracy: 0.9", "accuracy: 0.9 is no limit; write `accuracy: {at_least: NUMBER}`"),
        ("accuracy: {atleast: 0.9}", "accuracy.atleast: Extra inputs are not permitted"),
        ("accuracy: {}", "accuracy: give at_least, at_most or worse_by_at_most"),
        ("accuracy: {at_least: high}", "accuracy.at_least: Input should be a valid number"),
        ("precision: {at_least: 0.9}", "'precision', which was not measured; there are accuracy, macro_f1, log_loss"),
        ("accuracy: {worse_by_at_most: 0.1}", "than which model? name it with --against"),
        ("against: 3\naccuracy: {at_least: 0}", "against: 3 is not the path of a model"),
        ("[]", "has no figures by name"),
        ("", "has no figures by name"),
        ("{a: ", "is neither YAML nor TOML"),
        ("against: x", "has no limit"),
    ],
)
def test_a_file_that_says_nothing_clear(
    menagerie_train: Train, published_folder: Path, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "gate.yaml").write_text(content)
    arguments = (published_folder / "zoo" / "moods", published_folder / "moods.tsv")
    result = menagerie_train("evaluate", *arguments, "--gate", tmp_path / "gate.yaml")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_worse_is_lower_of_accuracies_and_higher_of_errors() -> None:
    limits = Limits({"accuracy": Limit(worse_by_at_most=0.01), "log_loss": Limit(worse_by_at_most=0.01)})
    assert [
        c.passed for c in check_limits(limits, {"accuracy": 0.8, "log_loss": 0.3}, {"accuracy": 0.9, "log_loss": 1})
    ] == [
        False,
        True,
    ]
    nothing = {"accuracy": float("nan"), "log_loss": float("nan")}
    assert not any(check.passed for check in check_limits(limits, nothing, {"accuracy": 0.9, "log_loss": 1}))
