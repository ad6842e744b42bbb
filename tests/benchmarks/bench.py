"""How fast the server is, beside how fast it could be.

    python -m tests.benchmarks.bench --quick
    python -m tests.benchmarks.bench --models resnet18 text --callers 1 64 --items 1 --out build/benchmarks/mine.json

Models with random weights are asked in closed loops by h2load and in open loops by a generator of our own. In the same
run, on the same cores: ONNX Runtime alone at its best batch and threads, and a bare grpcio server with messages of the
same size. Every answer that a client of ours reads is compared with that of ONNX Runtime alone. docs/performance.md
says more. Ctrl-C prints and writes what there is. Exit code 1: an answer was wrong or lost; 2: it cannot be measured.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.benchmarks import cells, echo, h2load, open_cells, reload, report, servers, workloads
from tests.benchmarks.cells import Cell, Make, Running
from tests.benchmarks.checking import Client
from tests.benchmarks.floors import measure_echo, repeat_raw, search_raw
from tests.benchmarks.models import BUILD
from tests.benchmarks.open_loop import ARRIVALS, percentile
from tests.benchmarks.results import Reload, Results, describe, size_key
from tests.benchmarks.workloads import Workload

_ECHO_SECONDS = 0.5
_LEFT_OUT = "left out: "
_RELOAD_RATE, _RELOADS = 100, 5
_QUICK = {"models": ["forecaster", "text", "resnet18"], "callers": [1, 64], "items": [1, 32], "seconds": 0.7}
_FULL = {"models": list(workloads.NAMES), "callers": [1, 4, 16, 64], "items": [1, 8, 32], "seconds": 3.0}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a part of it, in less than two minutes")
    parser.add_argument("--models", nargs="+", choices=workloads.NAMES, help="what is asked; default: all")
    parser.add_argument("--callers", nargs="+", type=int, help="requests under way at a time; default: 1 4 16 64")
    parser.add_argument("--items", nargs="+", type=int, help="of one request; default: 1 8 32")
    parser.add_argument("--seconds", type=float, help="of one measurement; default: 3")
    parser.add_argument("--connections", type=int, default=0, help="that callers share; default: one for each")
    parser.add_argument("--out", type=Path, default=BUILD / "bench.json", help="JSON file; default: %(default)s")
    parser.add_argument("--server-args", default="", metavar="'--FLAG VALUE ...'", help="for python -m service")
    parser.add_argument("--only-load", action="store_true", help="no start, memory and reload of servers of their own")
    parser.add_argument("--target", metavar="HOST:PORT", help="a server that runs already, with the same models")
    options = parser.parse_args(arguments)
    for name, value in (_QUICK if options.quick else _FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main() -> int:
    """Measure, print, write."""
    options = parse()
    console = Console(width=None if sys.stdout.isatty() else 200)
    end_like_ctrl_c()
    try:
        results = describe()
    except h2load.LoadError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 2
    try:
        with make_progress() as progress:
            Bench(options, results, progress).run(workloads.prepare(options.models))
    except KeyboardInterrupt:
        console.print("[yellow]interrupted; this is what there is[/]")
    report.show(results, console)
    report.save(results, options.out)
    console.print(f"written to {options.out}", highlight=False)
    return int(has_failed(results))


def end_like_ctrl_c() -> None:
    """SIGTERM too prints what there is, and ends the servers that were started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def has_failed(results: Results) -> bool:
    """Whether an answer was wrong or lost; what was left out for its length is no failure."""
    lost = sum(sum(loop.failed.values()) + loop.wrong for loop in results.open_loops)
    lost += results.reload.lost + results.reload.wrong if results.reload else 0
    return bool(lost) or any(is_failure(cell) for cell in results.cells)


def is_failure(cell: Cell) -> bool:
    """Whether the server is to blame that there are no numbers."""
    return bool(cell.problem) and not cell.problem.startswith(_LEFT_OUT)


class Bench:
    """One run, which fills in the results as it goes."""

    def __init__(self, options: argparse.Namespace, results: Results, progress: Progress) -> None:
        self._options = options
        self.results = results
        self._progress = progress
        self._bar = progress.add_task("")

    def run(self, asked: list[Workload]) -> None:
        """Measure everything."""
        per_workload = len(self._options.items) * len(self._options.callers)
        own = 0 if self._options.target or self._options.only_load else 3
        self.plan(len(asked) * (2 * per_workload + 2) + own)
        with echo.running() as echoes, self._server(asked) as server:
            for workload in asked:
                self._search(workload)
                self.measure(server, workload, workload.question)
                self._open_loop(server, workload)
                self._echo(echoes, server, workload)
        if own:
            self._starts(asked)
            self._reloads()

    def measure(self, server: Running, workload: Workload, make: Make) -> None:
        """All cells of a workload, between two measurements of the floor."""
        floor, seconds = self.results.raw[workload.model], self._options.seconds
        repeat_raw(floor, workload, seconds)
        for items in self._options.items:
            for callers in self._options.callers:
                with self.step(f"{server.name}: {workload.name}, {items} items, {callers} callers"):
                    self.results.cells.append(self._cell(server, workload, make, items, callers))
        repeat_raw(floor, workload, seconds)

    def _cell(self, server: Running, workload: Workload, make: Make, items: int, callers: int) -> Cell:
        round_seconds = items * callers / self.results.raw[workload.model].items_per_second
        if round_seconds > max(2 * self._options.seconds, 3):
            problem = f"{_LEFT_OUT}a round takes {round_seconds:.1f} s"
            return Cell(server.name, workload.name, items, callers, problem)
        return cells.measure(
            server,
            workload.name,
            make,
            items=items,
            callers=callers,
            seconds=self._options.seconds,
            connections=self._options.connections,
        )

    def _search(self, workload: Workload) -> None:
        with self.step(f"raw ONNX Runtime: {workload.model}"):
            if workload.model not in self.results.raw:
                self.results.raw[workload.model] = search_raw(workload, self._options.seconds / 4)

    def _echo(self, echoes: dict[str, str], server: Running, workload: Workload) -> None:
        """With messages as large as those that were answered."""
        measured = [cell for cell in self.results.cells if cell.workload == workload.name and not cell.problem]
        with closing(Client(server.address)) as client:
            for items in dict.fromkeys(cell.items for cell in measured):
                question = workload.question(items)
                size = (len(question.message), len(client.ask(question)))
                self.results.sizes[size_key(workload.name, items)] = size
        for cell in measured:
            with self.step(f"bare echo: {workload.name}, {cell.items} items, {cell.callers} callers"):
                size = self.results.sizes[size_key(workload.name, cell.items)]
                measure_echo(echoes, self.results, size, cell.callers, min(self._options.seconds / 3, _ECHO_SECONDS))

    def _open_loop(self, server: Running, workload: Workload) -> None:
        for arrivals in ARRIVALS if 1 in self._options.items else ():
            with self.step(f"open loop: {workload.name}, {arrivals}"):
                measured = open_cells.measure(
                    server, workload, arrivals, seconds=self._options.seconds, connections=self._options.connections
                )
                if measured:
                    self.results.open_loops.append(measured)

    def _starts(self, asked: list[Workload]) -> None:
        flags = shlex.split(self._options.server_args)
        with self.step("start to ready with the bundled zoo"):
            self.results.start = servers.measure_start(flags=flags)
        with self.step("start to ready with these models"):
            repository = asked[0].file.parents[2]
            self.results.models_start = servers.measure_start(repository, flags, starts=1)

    def _reloads(self) -> None:
        with self.step("reloads under steady load"):
            flags = shlex.split(self._options.server_args)
            load, spans = reload.measure(_RELOAD_RATE, 2 * self._options.seconds, _RELOADS, flags=flags)
            phases = reload.phases(load.outcomes, spans)
            self.results.reload = Reload(
                *(percentile(phases[phase], percent) for phase in ("before", "during") for percent in (50, 99)),
                lost=sum(outcome.code != "OK" for outcome in load.outcomes),
                wrong=sum(not outcome.right for outcome in load.outcomes),
            )

    @contextmanager
    def _server(self, asked: list[Workload]) -> Iterator[Running]:
        if self._options.target:
            yield Running("target", self._options.target)
            return
        with servers.menagerie(asked[0].file.parents[2], shlex.split(self._options.server_args)) as server:
            yield server

    def plan(self, steps: int) -> None:
        """So many steps are to be done."""
        self._progress.update(self._bar, total=steps)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Something to measure."""
        if self._progress.console.is_terminal:
            self._progress.update(self._bar, description=text)
        else:
            print(text, file=sys.stderr, flush=True)
        yield
        self._progress.advance(self._bar)


def make_progress() -> Progress:
    """A bar with the time that is left."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
