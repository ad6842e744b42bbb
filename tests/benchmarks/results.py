"""What a run of the benchmarks found, as the report and the JSON file have it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.benchmarks import h2load
from tests.benchmarks.cells import Cell
from tests.benchmarks.open_loop import Lateness
from tests.benchmarks.raw_runtime import Configuration, Speed, cores
from tests.benchmarks.servers import Start

SCHEMA = 1
_PACKAGES = ("menagerie", "onnxruntime-gpu", "grpcio", "protobuf", "numpy", "pillow")


@dataclass
class RawFloor:
    """ONNX Runtime alone with one model."""

    model: str
    searched: list[Speed]
    again: list[Speed] = field(default_factory=list)
    """The best configuration, measured again before and after each server."""

    @property
    def best(self) -> Configuration:
        """The configuration with the most items a second."""
        return max(self.searched, key=lambda speed: speed.items_per_second).configuration

    @property
    def items_per_second(self) -> float:
        """Of the best configuration, the mean of all measurements but the search where there are others: the best of
        many in a search is in part luck."""
        return statistics.mean(speed.items_per_second for speed in self._best_speeds)

    @property
    def cpu_ms_per_item(self) -> float:
        """Processor time with the best configuration."""
        return statistics.mean(speed.cpu_ms_per_item for speed in self._best_speeds)

    @property
    def _best_speeds(self) -> list[Speed]:
        return self.again or [speed for speed in self.searched if speed.configuration == self.best]

    def p50_ms(self, items: int) -> float:
        """Of one run at a time with so many rows, at its best threads."""
        times = [s.p50_ms for s in self.searched if s.configuration.batch == items and s.configuration.runs == 1]
        return min(times, default=math.nan)


@dataclass(frozen=True)
class EchoFloor:
    """A bare grpcio server with messages of some size."""

    kind: str
    request_bytes: int
    answer_bytes: int
    callers: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class OpenLoop:
    """Requests that leave at their times."""

    workload: str
    arrivals: str
    """A key of `ARRIVALS`."""
    share: float
    """Of the capacity, which is what a closed loop of single items reached just before."""
    share_after: float
    """Of what it reached just after: more, where the machine has become slower meanwhile."""
    requests: int
    failed: dict[str, int]
    """By the status of gRPC."""
    wrong: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    unevenness: float
    """Of the machine meanwhile, as `Canary` tells it."""
    generator: Lateness


@dataclass(frozen=True)
class Reload:
    """p50 and p99 of steady requests to a model that is reloaded."""

    before_p50_ms: float
    before_p99_ms: float
    during_p50_ms: float
    during_p99_ms: float
    lost: int
    wrong: int


@dataclass
class Results:
    """All of it; what was not measured is empty."""

    command: str
    machine: dict[str, Any]
    versions: dict[str, str]
    raw: dict[str, RawFloor] = field(default_factory=dict)
    """By model."""
    echo: list[EchoFloor] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes of request and answer, by `size_key`."""
    cells: list[Cell] = field(default_factory=list)
    start: Start | None = None
    """Of the bundled zoo."""
    models_start: Start | None = None
    """Of the models of the benchmarks."""
    open_loops: list[OpenLoop] = field(default_factory=list)
    reload: Reload | None = None
    peers: dict[str, str] = field(default_factory=dict)
    """Other servers: name to version, or why there is none."""

    def echo_floor(self, cell: Cell) -> EchoFloor | None:
        """The fastest bare server with messages of the same size, for as many callers."""
        size = self.sizes.get(size_key(cell.workload, cell.items))
        same = [e for e in self.echo if (e.request_bytes, e.answer_bytes) == size and e.callers == cell.callers]
        return max(same, key=lambda echo: echo.requests_per_second, default=None)

    def of_raw(self, cell: Cell) -> float:
        """Items a second as a fraction of the engine's."""
        floor = self.raw.get(model_of(cell.workload))
        return cell.items_per_second / floor.items_per_second if floor else math.nan

    def of_echo(self, cell: Cell) -> float:
        """Requests a second as a fraction of the bare server's."""
        floor = self.echo_floor(cell)
        return cell.requests_per_second / floor.requests_per_second if floor else math.nan

    def engine_share(self, cell: Cell) -> float:
        """Of the processor time of the server, what the engine alone takes; a busy machine changes it little."""
        floor = self.raw.get(model_of(cell.workload))
        return cell.items * floor.cpu_ms_per_item / cell.cpu_ms_per_request if floor else math.nan

    def above_floors_ms(self, cell: Cell) -> float:
        """The median latency without that of the engine and that of the bare server with the least."""
        raw = self.raw.get(model_of(cell.workload))
        size = self.sizes.get(size_key(cell.workload, cell.items))
        echo = [e.p50_ms for e in self.echo if (e.request_bytes, e.answer_bytes) == size and e.callers == cell.callers]
        return cell.p50_ms - raw.p50_ms(cell.items) - min(echo) if raw and echo else math.nan

    def to_json(self) -> str:
        """Everything, and what is derived of it; what is not a number is null."""
        plain = {"schema": SCHEMA, **dataclasses.asdict(self)}
        for cell, row in zip(self.cells, plain["cells"], strict=True):
            row |= {"items_per_second": cell.items_per_second, "of_raw": self.of_raw(cell)}
            row |= {"of_echo": self.of_echo(cell), "above_floors_ms": self.above_floors_ms(cell)}
            row |= {"engine_share": self.engine_share(cell)}
        for name, floor in self.raw.items():
            plain["raw"][name] |= {"best": str(floor.best), "items_per_second": floor.items_per_second}
            plain["raw"][name] |= {"cpu_ms_per_item": floor.cpu_ms_per_item}
        return json.dumps(_without_nan(plain), indent=2)


def model_of(workload: str) -> str:
    """The model that a workload asks."""
    return workload.removesuffix("-jpeg")


def size_key(workload: str, items: int) -> str:
    """How `Results.sizes` names a message."""
    return f"{workload} x {items}"


def describe() -> Results:
    """An empty table, and where and how it is made."""
    return Results(" ".join(["python", "-m", "tests.benchmarks.bench", *sys.argv[1:]]), _machine(), _versions())


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": names[0] if names else platform.machine(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "h2load": h2load.version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
