"""What was to be reached, what was measured, and whether it was reached. Rows that lose stay in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tests.benchmarks.cells import Cell
from tests.benchmarks.open_loop import ARRIVALS
from tests.benchmarks.results import Results

BUSY = (16, 64)
"""Callers."""
_SLOWER = 0.8
"""Of capacity: what was more in the end was another load than the target is about."""


@dataclass(frozen=True)
class Target:
    """A line of the table."""

    text: str
    asked: str
    measured: float
    """NaN: not measured."""
    reached: bool

    @property
    def verdict(self) -> str:
        """In a word."""
        return "not measured" if math.isnan(self.measured) else "reached" if self.reached else "missed"


def targets(results: Results, server: str = "menagerie") -> list[Target]:
    """All of them, of one server."""
    cells = {(c.workload, c.items, c.callers): c for c in results.cells if c.server == server and not c.problem}
    return [*_throughput(results, cells), *_int8(cells), *_latency(results, cells), *_resources(results)]


def peer_targets(results: Results) -> list[Target]:
    """Single items of the small models at 64 callers, against each other server."""
    rates = {(c.server, c.workload): c.requests_per_second for c in results.cells if (c.items, c.callers) == (1, 64)}
    rows = []
    for workload in ("forecaster", "text"):
        for peer in results.peers:
            ratio = rates.get(("menagerie", workload), math.nan) / rates.get((peer, workload), math.nan)
            asked = 1.0 if peer == "torchserve" else 1.5
            rows.append(_at_least(f"{workload}, 1 item, 64 callers: against {peer}", asked, ratio))
    return rows


_Cells = dict[tuple[str, int, int], Cell]


def _throughput(results: Results, cells: _Cells) -> Iterator[Target]:
    asked = [("resnet18", 1, 0.95), ("resnet50", 1, 0.95), ("resnet18-jpeg", 1, 0.88)]
    asked += [("forecaster", 32, 0.90), ("text", 32, 0.90)]
    for workload, items, share in asked:
        for callers in BUSY:
            cell = cells.get((workload, items, callers))
            measured = results.of_raw(cell) if cell else math.nan
            text = f"{workload}, {items} item{'s' if items > 1 else ''}, {callers} callers: of raw ONNX Runtime"
            yield _at_least(text, share, measured)


def _int8(cells: _Cells) -> Iterator[Target]:
    for name in ("resnet18", "resnet50"):
        for callers in BUSY:
            plain, int8 = cells.get((name, 1, callers)), cells.get((f"{name}-int8", 1, callers))
            gain = int8.items_per_second / plain.items_per_second if plain and int8 else math.nan
            yield _at_least(f"{name}, {callers} callers: int8 against float32", 3.0, gain)


def _latency(results: Results, cells: _Cells) -> Iterator[Target]:
    for workload in ("forecaster", "text"):
        cell = cells.get((workload, 1, 1))
        above = results.above_floors_ms(cell) if cell else math.nan
        yield _at_most(f"{workload}, 1 caller: p50 above raw ONNX Runtime and bare echo, ms", 0.3, above)
    loops = {(loop.workload, loop.arrivals): loop for loop in results.open_loops if not (loop.failed or loop.wrong)}
    for workload, arrivals in product(("resnet18", "resnet50", "resnet18-jpeg"), ARRIVALS):
        loop = loops.get((workload, arrivals))
        ratio = loop.p99_ms / loop.p50_ms if loop else math.nan
        text = f"{workload}, open loop at 70 % of capacity, {arrivals}: p99 / p50"
        if loop and loop.share_after > _SLOWER:
            text += f" (the machine became slower, it was {loop.share_after:.0%})"
        yield _at_most(text, 3.0, ratio)
    reload = results.reload
    ratio = reload.during_p99_ms / reload.before_p99_ms if reload and not reload.lost + reload.wrong else math.nan
    yield _at_most("during reloads: p99 / p99 before", 1.5, ratio)


def _resources(results: Results) -> Iterator[Target]:
    start, models = results.start, results.models_start
    yield _at_most("start to ready with the bundled zoo, s", 2.0, start.seconds if start else math.nan)
    for text, found in (("bundled zoo", start), ("models of the benchmarks", models)):
        ratio = found.memory.resident_mib / found.bare.resident_mib if found else math.nan
        yield _at_most(f"memory of the server / of bare sessions, {text}", 1.3, ratio)
        after = found.memory_after_batches.resident_mib / found.bare_after_batches.resident_mib if found else math.nan
        yield _at_most(f"the same after batches, {text}", 1.3, after)


def _at_least(text: str, limit: float, measured: float) -> Target:
    return Target(text, f">= {limit:g}", measured, measured >= limit)


def _at_most(text: str, limit: float, measured: float) -> Target:
    return Target(text, f"<= {limit:g}", measured, measured <= limit)
