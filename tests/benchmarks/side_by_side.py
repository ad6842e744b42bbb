"""How runs of one model share the cores: images a second of ONNX Runtime, in batches of several sizes.

    python -m tests.benchmarks.side_by_side zoo/bundled/flowers/1/model.onnx

- all cores: one run at a time.
- a core each: as many runs as there are cores, on a session of one thread, on which a lone run has one core, too.
- shared out: as many runs as there are cores, each on all of them.
- as the server: the first run on all cores, those beside it on one each.

In turns, so that whatever else the machine does meets all of them; the best of the rounds counts.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime

from service.backend.beside import SideBySide
from service.backend.opening import session_options
from zoo.card import IMAGE_INPUT


def main() -> None:
    """Print a table for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a model that takes pictures")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8], help="of a batch")
    parser.add_argument("--seconds", type=float, default=1, help="of one turn")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for file in options.files:
        _print_table(file, options)


def _print_table(file: Path, options: argparse.Namespace) -> None:
    cores = len(os.sched_getaffinity(0))
    one, all_cores = (_open(file, threads) for threads in (1, cores))
    ways: dict[str, tuple[Callable[..., Any], int]] = {
        "all cores": (all_cores.run, 1),
        "a core each": (one.run, cores),
        "shared out": (all_cores.run, cores),
        "as the server": (SideBySide(all_cores), cores),
    }
    best = dict.fromkeys(itertools.product(options.rows, ways), 0.0)
    for _ in range(options.rounds):
        for rows, way in best:
            shape = (rows, *all_cores.get_inputs()[0].shape[1:])
            pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
            run, runs = ways[way]
            rate = rows * _rate(partial(run, None, {IMAGE_INPUT: pixels}, None), runs, options.seconds)
            best[rows, way] = max(best[rows, way], rate)
    print(f"\n{file}, {cores} cores, images/s\n\n| rows | {' | '.join(ways)} |\n|{'---|' * (1 + len(ways))}")
    for rows in options.rows:
        print(f"| {rows} | {' | '.join(f'{best[rows, way]:.1f}' for way in ways)} |")


def _open(file: Path, threads: int) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(file), session_options(threads), providers=["CPUExecutionProvider"])


def _rate(run: Callable[[], Any], runs: int, seconds: float) -> float:
    """Runs a second of so many threads that run one after the other."""

    def work(_: int) -> float:
        start, count = perf_counter(), 0
        while True:
            run()
            count += 1
            if (elapsed := perf_counter() - start) >= seconds:
                return count / elapsed

    with ThreadPoolExecutor(runs) as pool:
        return sum(pool.map(work, range(runs)))


if __name__ == "__main__":
    main()
