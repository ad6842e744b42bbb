"""The tables for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.cells import Cell
from tests.benchmarks.results import Results, model_of
from tests.benchmarks.servers import BATCH_ROWS
from tests.benchmarks.targets import Target, peer_targets, targets
from tests.benchmarks.usage import Memory

_COLOURS = {"reached": "green", "missed": "red", "not measured": "dim"}


def show(results: Results, console: Console, *, peers: bool = False) -> None:
    """All tables; with other servers or without."""
    machine = results.machine
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, load average {machine['load_average']:.2f} at the start; "
        + ", ".join(f"{name} {version}" for name, version in results.versions.items()),
        highlight=False,
    )
    console.print(_raw_table(results), _cell_table(results))
    for line in _servers_of_their_own(results):
        console.print(line, highlight=False)
    if results.open_loops:
        console.print(_open_loop_table(results))
    if results.peers:
        console.print(_peer_table(results))
    console.print(_target_table(peer_targets(results) if peers else targets(results)))


def save(results: Results, path: Path) -> None:
    """Write the JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(results.to_json() + "\n")


def _servers_of_their_own(results: Results) -> Iterator[str]:
    for title, start in (("bundled zoo", results.start), ("models of the benchmarks", results.models_start)):
        if start:
            after = _side_by_side(start.memory_after_batches, start.bare_after_batches)
            yield (
                f"{title}: ready after {start.seconds:.2f} s; {_side_by_side(start.memory, start.bare)}; after a batch "
                f"of {BATCH_ROWS} rows by each model with golden samples {after}"
            )
    if reload := results.reload:
        yield (
            f"reloads under steady load: p50 and p99 before {reload.before_p50_ms:.1f} and {reload.before_p99_ms:.1f} "
            f"ms, during {reload.during_p50_ms:.1f} and {reload.during_p99_ms:.1f} ms; {reload.lost} requests lost, "
            f"{reload.wrong} answers wrong"
        )


def _side_by_side(memory: Memory, bare: Memory) -> str:
    return (
        f"resident {memory.resident_mib:.0f} MiB, bare sessions {bare.resident_mib:.0f} MiB (proportional "
        f"{memory.proportional_mib:.0f} and {bare.proportional_mib:.0f} MiB)"
    )


def _raw_table(results: Results) -> Table:
    table = Table(
        "model", "best of raw ONNX Runtime", "items/s", "CPU ms/item", "searched, items/s", title="floor of the engine"
    )
    for floor in results.raw.values():
        found = "; ".join(f"{speed.configuration}: {speed.items_per_second:,.0f}" for speed in floor.searched)
        again = [speed.items_per_second for speed in floor.again]
        spread = f" (mean of {len(again)}, {min(again):,.0f} to {max(again):,.0f})" if again else ""
        rate = f"{floor.items_per_second:,.1f}{spread}"
        table.add_row(floor.model, str(floor.best), rate, f"{floor.cpu_ms_per_item:.3f}", found)
    return table


def _cell_table(results: Results) -> Table:
    table = Table(title="closed loops", box=None, header_style="bold", pad_edge=False)
    for name in ("server", "workload"):
        table.add_column(name)
    numbers = ("items", "callers", "requests/s", "items/s", "of raw", "of echo", "p50 ms", "p95 ms", "p99 ms")
    for name in (*numbers, "above floors ms", "CPU ms/request", "engine's", "client", "RSS MiB", "PSS MiB", "checked"):
        table.add_column(name, justify="right")
    previous = ""
    for cell in results.cells:
        if previous not in ("", cell.server + cell.workload):
            table.add_section()
        previous = cell.server + cell.workload
        _add(table, results, cell)
    return table


def _add(table: Table, results: Results, cell: Cell) -> None:
    start = (cell.server, cell.workload, str(cell.items), str(cell.callers))
    if math.isnan(cell.requests_per_second):
        table.add_row(*start, *[""] * 13, f"[red]{cell.problem}[/]")
        return
    table.add_row(
        *start,
        f"{cell.requests_per_second:,.1f}",
        f"{cell.items_per_second:,.1f}",
        _percent(results.of_raw(cell)) if model_of(cell.workload) in results.raw else "",
        _percent(results.of_echo(cell)),
        *(f"{value:,.2f}" for value in (cell.p50_ms, cell.p95_ms, cell.p99_ms)),
        _number(results.above_floors_ms(cell), 2) if cell.callers == 1 else "",
        _number(cell.cpu_ms_per_request, 3),
        _percent(results.engine_share(cell)),
        _number(cell.client_cpu_ms_per_request, 3),
        _number(cell.resident_mib, 0),
        _number(cell.proportional_mib, 0),
        f"[red]{cell.problem}[/]" if cell.problem else str(cell.checked),
    )


def _open_loop_table(results: Results) -> Table:
    title = "open loops: latency from when a request should have left"
    table = Table(
        "workload", "arrivals", "of capacity", "asked/s", "achieved/s", "p50 ms", "p95 ms", "p99 ms", title=title
    )
    for name in ("failed", "wrong", "machine p99/p50", "generator"):
        table.add_column(name)
    for loop in results.open_loops:
        kept = loop.generator
        late = f"p99 {kept.p99_ms:.1f} ms late, takes {kept.cores:.2f} cores"
        table.add_row(
            loop.workload,
            loop.arrivals,
            f"{loop.share:.0%} to {loop.share_after:.0%}",
            f"{kept.asked_per_second:,.1f}",
            f"{kept.achieved_per_second:,.1f}",
            *(f"{value:,.2f}" for value in (loop.p50_ms, loop.p95_ms, loop.p99_ms)),
            ", ".join(f"{count} {code}" for code, count in loop.failed.items()) or "0",
            str(loop.wrong),
            f"{loop.unevenness:.1f}",
            f"[red]fell behind, {late}[/]" if kept.behind else late,
        )
    return table


def _peer_table(results: Results) -> Table:
    table = Table("server", "version, or why it is not measured", title="other servers")
    for name, version in results.peers.items():
        table.add_row(name, version)
    return table


def _target_table(rows: list[Target]) -> Table:
    table = Table("target", "asked", "measured", "", title="targets")
    for row in rows:
        colour = _COLOURS[row.verdict]
        table.add_row(row.text, row.asked, _number(row.measured, 3), f"[{colour}]{row.verdict}[/]")
    return table


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:,.{digits}f}"
