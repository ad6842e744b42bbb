"""Fixtures of the training tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from training.__main__ import build_app


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The networks here are small: on busy machines the threads of one operator mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def published_folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Data, runs, and the repository `zoo` with all that `publish_all` makes; to be read only."""
    from tests.training.published import publish_all  # the pipelines take seconds to import

    folder = tmp_path_factory.mktemp("published")
    publish_all(folder)
    return folder


@dataclass(frozen=True)
class Result:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def menagerie_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`python -m training ARGUMENTS...` in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    app = build_app()

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception  # a traceback is never an answer
        return Result(result.exit_code, result.stdout, result.stderr)

    return run
