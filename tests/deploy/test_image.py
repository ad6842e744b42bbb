"""The Dockerfile, as far as it can be checked without a container engine: its install is done for real."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, free_port

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean virtual environment with what the build stage of the Dockerfile installs, line by line."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "src").mkdir()
    environment = folder / "venv"
    build_stage = DOCKERFILE.split("\nFROM ")[1]
    for instruction, rest in re.findall(r"^(COPY|RUN) (.+)$", build_stage, re.MULTILINE):
        if instruction == "COPY":
            *sources, destination = rest.split()
            for source in sources:
                _copy(source, folder / "src" / destination)
        else:
            here = rest.replace("--no-cache-dir ", "").replace("/opt/menagerie", str(environment))
            here = here.replace("python -m", f"{sys.executable} -m")
            subprocess.run(here, shell=True, check=True, cwd=folder / "src", capture_output=True, text=True)
    return environment / "bin"


def _copy(source: str, target: Path) -> None:
    if (ROOT / source).is_dir():
        shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(ROOT / source, target)


@pytest.mark.timeout(300)
def test_the_image_has_no_torch_and_no_build_tools(installed: Path) -> None:
    for module in ("torch", "torchvision", "timm", "lightning", "onnx", "grpc_tools", "pytest"):
        result = subprocess.run([installed / "python", "-c", f"import {module}"], capture_output=True, text=True)
        assert f"No module named '{module}'" in result.stderr, module


def test_the_entry_point_serves_the_bundled_zoo(installed: Path, tmp_path: Path) -> None:
    entry = re.search(r'^ENTRYPOINT \["(\S+)"', DOCKERFILE, re.MULTILINE)
    assert entry is not None
    port = free_port()
    arguments = ["--port", str(port), "--metrics-port", str(free_port())]
    with subprocess.Popen([installed / entry[1], *arguments], cwd=tmp_path, stderr=subprocess.PIPE) as server:
        try:
            health = re.search(r"CMD \[\"python\", \"-m\", \"(\S+)\"", DOCKERFILE)
            assert health is not None
            check = [installed / "python", "-m", health[1], f"127.0.0.1:{port}"]
            assert any(subprocess.run(check, cwd=tmp_path, timeout=20).returncode == 0 for _ in range(30))
            predict = [installed / "menagerie-predict", "--address", f"127.0.0.1:{port}", "--json"]
            command = [*predict, "--model", "sentiment-en", "--text", "A wonderful phone"]
            answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20)
            assert answer.returncode == 0, answer.stderr
            assert '"label": "positive"' in answer.stdout
        finally:
            server.terminate()
    assert server.returncode == 0


def test_the_image_is_not_root_and_stops_by_sigterm() -> None:
    final_stage = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", final_stage, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in final_stage
    assert "HEALTHCHECK" in final_stage
