"""What this machine has: packages, and the project itself where it is not installed. Only the standard library."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[2]

SERVING = {
    "google.rpc": "googleapis-common-protos",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime-gpu",
    "PIL": "pillow",
    "prometheus_client": "prometheus-client",
    "pydantic": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "pynvml": "nvidia-ml-py",
    "rich": "rich",
}
"""Modules that every section needs, and the packages that have them."""
EXPORT = {
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "safetensors": "safetensors",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
}
"""To make models."""
TRAINING = {**EXPORT, "lightning": "lightning", "torchmetrics": "torchmetrics"}
"""To train them."""


def missing_packages(modules: dict[str, str]) -> list[str]:
    """The packages of modules that cannot be imported here."""
    return sorted(package for module, package in modules.items() if not _is_there(module))


def way_out(packages: Iterable[str]) -> str:
    """How to get packages onto a machine, with a network or without."""
    names = " ".join(packages)
    return (
        f"pip install {names}\n"
        f"or, where there is no network, on another machine: pip install --target packages {names}\n"
        "and here, with that folder beside the project: PYTHONPATH=packages python -m tests.gpu ..."
    )


def prepare_paths() -> None:
    """Make the project importable from its folder, here and in processes that are started from here.

    The server asks for its own version; a checkout that is not installed has none, so it gets one.
    """
    paths = [str(ROOT), str(ROOT / "protos")]
    try:
        version("menagerie")
    except PackageNotFoundError:
        paths.append(_metadata_folder())
    sys.path[:0] = [path for path in paths if path not in sys.path]
    inherited = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, inherited] if inherited else paths)


def versions() -> dict[str, str]:
    """Releases of what the numbers depend on."""
    found = {"python": sys.version.split()[0]}
    for package in ("onnxruntime-gpu", "torch", "torchvision", "timm", "grpcio", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package above it
        return False


def _metadata_folder() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = Path(tempfile.mkdtemp(prefix="menagerie-"))
    metadata = folder / f"menagerie-{project['version']}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: menagerie\nVersion: {project['version']}\n", encoding="utf-8")
    return str(folder)
