"""How fast other servers are, with the same models, the same client and the same machine.

    python -m tests.benchmarks.bench_peers
    python -m tests.benchmarks.bench_peers --peers mlserver litserve --models text --callers 64 --items 1

Servers from the package index, each in a virtual environment of its own in build/benchmarks/peers/, with an adapter of
ours (tests/benchmarks/peers/) that uses what the server recommends: its dynamic batching where it has one, gRPC where
it speaks it. One that cannot be installed or started is a row that says why. Ours runs in between, in the same way.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console

from tests.benchmarks import bench, h2load, raw_runtime, report, servers, workloads
from tests.benchmarks.floors import search_raw
from tests.benchmarks.models import BUILD
from tests.benchmarks.peers import PEERS
from tests.benchmarks.peers.peer import Peer, PeerError, install, running
from tests.benchmarks.results import describe
from tests.benchmarks.workloads import Workload

_MODELS = ("forecaster", "text", "resnet18")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="*", choices=names, default=names, help="default: all")
    tensors = [name for name in workloads.NAMES if not name.endswith("-jpeg")]
    parser.add_argument("--models", nargs="+", choices=tensors, default=list(_MODELS), help="default: %(default)s")
    parser.add_argument("--callers", nargs="+", type=int, default=[1, 16, 64], help="default: %(default)s")
    parser.add_argument("--items", nargs="+", type=int, default=[1, 32], help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement; default: %(default)s")
    parser.add_argument("--connections", type=int, default=0, help="that callers share; default: one for each")
    parser.add_argument("--out", type=Path, default=BUILD / "bench-peers.json", help="JSON file; default: %(default)s")
    parser.add_argument("--server-args", default="", metavar="'--FLAG VALUE ...'", help="for python -m service")
    parser.add_argument(
        "--python", nargs="*", default=[], metavar="PEER=PATH", help="another Python for the environment of a peer"
    )
    return parser.parse_args()


def main() -> int:
    """Install, measure, print, write; exit code 1: an answer of ours was wrong; 2: it cannot be measured."""
    options = parse()
    console = Console(width=None if sys.stdout.isatty() else 200)
    bench.end_like_ctrl_c()
    try:
        results = describe()
    except h2load.LoadError as exc:
        print(f"bench-peers: {exc}", file=sys.stderr)
        return 2
    try:
        with bench.make_progress() as progress:
            runner = _Runner(options, bench.Bench(options, results, progress))
            runner.run(workloads.prepare(options.models))
    except KeyboardInterrupt:
        console.print("[yellow]interrupted; this is what there is[/]")
    report.show(results, console, peers=True)
    report.save(results, options.out)
    console.print(f"written to {options.out}", highlight=False)
    return int(any(bench.is_failure(cell) for cell in results.cells if cell.server == "menagerie"))


class _Runner:
    def __init__(self, options: argparse.Namespace, own: bench.Bench) -> None:
        self._options = options
        self._bench = own

    def run(self, asked: list[Workload]) -> None:
        """Ours and all others, workload by workload, so that whatever else the machine does meets all of them."""
        found = self._bench.results
        peers = [peer for peer in PEERS if peer.name in self._options.peers and self._install(peer)]
        steps = (len(peers) + 1) * len(self._options.items) * len(self._options.callers)
        self._bench.plan(len(asked) * (steps + 1))
        for workload in asked:
            with self._bench.step(f"raw ONNX Runtime: {workload.model}"):
                found.raw[workload.model] = search_raw(workload, self._options.seconds / 4)
            flags = shlex.split(self._options.server_args)
            with servers.menagerie(workload.file.parents[2], flags) as server:
                self._bench.measure(server, workload, workload.question)
            for peer in peers:
                self._measure(peer, workload)

    def _install(self, peer: Peer) -> bool:
        pythons = dict(item.split("=", 1) for item in self._options.python)
        try:
            self._bench.results.peers[peer.name] = install(peer, pythons.get(peer.name, sys.executable))
        except PeerError as exc:
            self._bench.results.peers[peer.name] = str(exc)
            return False
        return True

    def _measure(self, peer: Peer, workload: Workload) -> None:
        small = "resnet" not in workload.name and peer.small_workers
        try:
            with running(peer, workload, small or raw_runtime.cores()) as server:
                if peer.warm_up_seconds:
                    question, seconds = peer.ask(workload, 1, 0), peer.warm_up_seconds
                    h2load.run(server.address, question, 16, h2load.warm_up(server.address, question, 16, seconds))
                self._bench.measure(server, workload, lambda items, start: peer.ask(workload, items, start))
        except (PeerError, h2load.LoadError) as exc:
            known = self._bench.results.peers
            known[peer.name] += f"; {workload.name}: {exc}"


if __name__ == "__main__":
    sys.exit(main())
