"""The script for machines with a GPU, on one without: what it says, and that the parts work that need none."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from service.backend.device import CPU, choose_device
from tests.gpu import environment
from tests.gpu.__main__ import SECTIONS, main
from tests.gpu.report import Report

ROOT = environment.ROOT


def test_packages_that_are_missing_are_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(environment.SERVING, "nowhere_to_be_found", "some-package")
    monkeypatch.setitem(environment.SERVING, "nowhere.deep.inside", "another-package")
    assert main(["--only", "decoding"]) == 2
    said = capsys.readouterr().err
    assert "missing here: another-package, some-package" in said
    assert "pip install --target packages another-package some-package" in said


def test_the_entry_needs_the_standard_library_only() -> None:
    """It is there to say what is missing."""
    code = "import sys; import tests.gpu.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "."},
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - {"tests"} <= sys.stdlib_module_names | {"__main__"}


def test_a_checkout_that_is_not_installed_gets_a_version() -> None:
    (found,) = importlib.metadata.distributions(path=[environment._metadata_folder()])
    assert (found.name, found.version) == ("menagerie", importlib.metadata.version("menagerie"))


def test_a_section_that_fails_leaves_the_others(tmp_path: Path) -> None:
    report = Report(Console(quiet=True), tmp_path / "build" / "results.json")
    with report.section("first"):
        report.add("floor", 100.0, "images/s")
        report.compare("served", 90.0, "images/s", "floor")
    with report.section("second"):
        raise RuntimeError("out of\nluck")
    with report.section("third"):
        report.check("right", True)
    assert report.failed
    rows = json.loads(report.file.read_text())["rows"] if report.file else []
    assert [(row["section"], row["verdict"]) for row in rows] == [
        ("first", ""),
        ("first", ""),
        ("second", "failed"),
        ("third", "ok"),
    ]
    assert rows[1]["ratio"] == 0.9
    assert rows[2]["note"] == "RuntimeError: out of luck"
    report.print()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_a_gpu_the_parts_run_that_need_none(tmp_path: Path) -> None:
    if choose_device("auto") != CPU:
        pytest.skip("there is a GPU: run python -m tests.gpu")
    file = tmp_path / "results.json"
    arguments = ["--quick", "--seconds", "0.5", "--families", "timm/test_efficientnet", "--json", str(file)]
    command = [sys.executable, "-m", "tests.gpu", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no GPU: no CUDA device here" in done.stdout
    rows = json.loads(file.read_text())["rows"]
    skipped = {row["section"] for row in rows if row["verdict"] == "skipped"}
    assert skipped == {section.name for section in SECTIONS if section.with_gpu}
    ran = {row["what"] for row in rows if row["verdict"] == "ok"}
    assert {"served on the CPU, tensors", "served on the CPU, files"} <= ran
    ceilings = [row for row in rows if row["section"] == "ceiling"]
    assert [row["value"] > 0 and "event loop 0." in row["note"] for row in ceilings] == [True] * 4
    assert {what for what in ran if what.startswith("test_efficientnet-fp16 on cpu")}
    assert {what for what in ran if what.startswith("load-forecast on cpu")}
