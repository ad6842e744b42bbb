"""The committed stubs are those of the .proto files, and every element of the API is documented."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from tests.conftest import ROOT

PROTOS = ROOT / "protos"


def test_the_stubs_are_fresh(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", PROTOS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.generate(tmp_path)
    fresh = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2*.py*")}
    assert len(fresh) == 3 * len(list(PROTOS.rglob("*.proto")))
    committed = {path: (PROTOS / path).read_text() for path in fresh}
    assert committed == fresh, "run `make protos`"


def test_every_element_has_a_comment() -> None:
    for path in PROTOS.rglob("*.proto"):
        previous = ""
        for line in map(str.strip, path.read_text().splitlines()):
            if re.match(r"(service|rpc|message|enum|oneof) |.* = \d+;", line) and not line.startswith("syntax"):
                assert previous.startswith("//"), f"{path.name}: {line}"
            previous = line
