"""Every command and every piece of code in the README does what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.flags import parse_settings
from tests.client.conftest import start_server
from tests.conftest import ROOT
from zoo import BUNDLED
from zoo.package import read_card

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.strip() for language, block in BLOCKS if language == "sh" for line in block.splitlines() if line.strip()
]


def commands(*beginnings: str) -> list[str]:
    """The commands that begin so."""
    found = [command for command in COMMANDS if command.startswith(beginnings)]
    assert found, beginnings
    return found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server on the bundled zoo."""
    with start_server(BUNDLED) as (found, _):
        yield found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README names: photographs, and a table of readings."""
    folder = tmp_path_factory.mktemp("readme")
    flowers, load = (read_card(BUNDLED / name / "1" / "model.onnx") for name in ("flowers", "load-forecast"))
    assert flowers is not None
    assert load is not None
    for number, sample in enumerate(flowers.golden.samples):
        (folder / f"{number}.jpg").write_bytes(sample.image or b"")
    rows = [f"2018-07-{1 + hour // 24:02} {hour % 24:02}:00,{row[0]}"
            for hour, row in enumerate(load.golden.samples[0].history or ())]  # fmt: skip
    (folder / "load.csv").write_text("\n".join(["Datetime,PJME_MW", *rows]))
    return folder


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    everything = os.environ | {"PATH": path} | environment
    return subprocess.run(command, shell=True, cwd=folder, env=everything, capture_output=True, text=True, timeout=60)


def test_no_command_is_left_out() -> None:
    known = ("make ", ". .venv", "menagerie-predict ", "menagerie-serve ", "python -m zoo ", "python -m training ",
             "grpcurl ", "pip install ")  # fmt: skip
    assert [command for command in COMMANDS if not command.startswith(known)] == []


@pytest.mark.parametrize("command", commands("menagerie-predict "))
def test_predictions(command: str, address: str, workplace: Path) -> None:
    result = run(command, workplace, MENAGERIE_ADDRESS=address)
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", commands("python -m zoo "))
def test_looking_into_the_repository(command: str, workplace: Path) -> None:
    result = run(command, workplace)
    assert result.returncode == 0, result.stderr
    assert "flowers" in result.stdout


@pytest.mark.parametrize("command", commands("menagerie-serve "))
def test_server_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split(command)[1:]
    if arguments == ["--help"]:
        with pytest.raises(SystemExit):
            parse_settings(arguments)
        assert "--max-batch-size" in capsys.readouterr().out
    else:
        assert parse_settings(arguments).repository == (Path("models"),)


@pytest.mark.parametrize("command", commands("python -m training "))
def test_training_flags(command: str) -> None:
    from typer.main import get_command

    from training.__main__ import build_app

    subcommand, *arguments = shlex.split(command)[3:]
    group = get_command(build_app())
    context = group.commands[subcommand].make_context(subcommand, arguments)  # type: ignore[attr-defined]
    assert str(context.params.get("output", "models")) == "models"  # evaluate publishes nothing


@pytest.mark.parametrize("command", commands("make "))
def test_make_targets(command: str) -> None:
    assert run(f"{command} --dry-run", ROOT).returncode == 0


def test_python_code(address: str, workplace: Path) -> None:
    for language, block in BLOCKS:
        if language == "python":
            code = block.replace("127.0.0.1:8001", address)
            result = subprocess.run([sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True)
            assert result.returncode == 0, result.stderr
            assert result.stdout.startswith("positive ")


def test_json_lines_have_the_shape_of_real_ones(address: str, workplace: Path) -> None:
    (workplace / "torn.jpg").write_bytes(b"\xff\xd8")
    asked = ("--model sentiment-ko --text 시간이", "--model flowers --image torn.jpg")
    real = [run(f"menagerie-predict --address {address} {what} --json", workplace).stdout for what in asked]
    got = [json.loads(line) for line in real]
    shown = [json.loads(line) for language, block in BLOCKS if language == "json" for line in block.splitlines()]
    assert [_shape(item) for item in shown] == [_shape(item) for item in got]


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else type(value)
