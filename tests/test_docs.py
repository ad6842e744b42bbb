"""What the documents name is there, and what they promise to list is listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from service.client.__main__ import app as predict
from service.errors import ServiceError, StartError
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.tuning.command import app as tune
from tests.conftest import ROOT
from training.__main__ import build_app
from zoo.__main__ import app as zoo

FILES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text() for path in FILES}
ELSEWHERE = {
    "--help",
    "--nnodes",
    "--nproc-per-node",
    "--rdzv-endpoint",
    "--standalone",
    "--quick",
    "--data",
    "--splits",
}
"""Of every command, of torchrun, of benchmarks and recipes."""
BENCHMARKS = "docs/performance.md"


def options() -> set[str]:
    """Every option of every command line."""
    flags = {f"--{prefix}{name.replace('_', '-')}" for name in Settings.model_fields for prefix in ("", "no-")}
    return flags.union(*(_options(get_command(app)) for app in (build_app(), predict, tune, zoo)))


def _options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for subcommand in getattr(command, "commands", {}).values():
        yield from _options(subcommand)


def test_options_exist() -> None:
    known = options() | ELSEWHERE
    texts = {name: text for name, text in DOCUMENTS.items() if name != BENCHMARKS}
    named = {(name, option) for name, text in texts.items() for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", text)}
    assert [(name, option) for name, option in sorted(named) if option not in known] == []
    assert len(named) > 100


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[document]):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = ((ROOT / document).parent / file) if file else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target.read_text()), link


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_tests_that_are_named_exist() -> None:
    named = re.findall(r"`((?:\w+/)?test_\w+)::(test_\w+)`", DOCUMENTS["docs/operations.md"])
    for file, test in named:
        path = ROOT / "tests" / (f"{file}.py" if "/" in file else f"service/{file}.py")
        assert f"def {test}(" in path.read_text(), f"{file}::{test}"
    assert len(named) > 30


def test_every_metric_is_listed() -> None:
    section = DOCUMENTS["docs/operations.md"].partition("\n## Metrics\n")[2].partition("\n## ")[0]
    own = [family for family in Metrics().registry.collect() if family.name.startswith("menagerie_")]
    names = {family.name + ("_total" if family.type == "counter" else "") for family in own}
    assert sorted(name for name in names if f"`{name.removeprefix('menagerie_')}`" not in section) == []


def test_every_reason_of_an_error_is_listed() -> None:
    raised = r'(?:\breason=|\b(?:InputError|UsageError)\(\s*|PredictionError\(code, )"([A-Z_]+)"'
    sources = [path.read_text() for folder in ("service", "zoo") for path in (ROOT / folder).rglob("*.py")]
    reasons = {reason for source in sources for reason in re.findall(raised, source)}
    reasons |= {error.reason for error in _errors(ServiceError)}
    listed = set(re.findall(r"`([A-Z_]+)`", DOCUMENTS["docs/errors.md"])) - {"CANCELLED", "EXPIRED", "ABORTED"}
    assert listed == reasons - {"UNAUTHENTICATED"}  # which always has one that says more


def _errors(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for error in base.__subclasses__():
        if not issubclass(error, StartError):
            yield error
            yield from _errors(error)
