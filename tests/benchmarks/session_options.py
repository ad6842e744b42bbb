"""What each session option of ONNX Runtime brings on this CPU; in CPU time, which other work here changes little.

    python -m tests.benchmarks.session_options [MODEL.onnx ...] [--rows 1 8] [--rounds 3] [--in-turn VARIANT]

Default: the bundled zoo. Each variant runs in processes of its own, in turn with the others; the least of the rounds
counts. The answers of every variant are compared with those of the server's own options. `--in-turn` compares one
variant with the server's options in one process, which shows smaller differences of CPU time, and none of memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from service.backend.opening import session_options
from service.backend.providers import file_hash
from zoo import BUNDLED

THREADS = 1
SECONDS = 1.0
"""CPU time that a variant runs for, at each number of rows."""
TURNS, TURN_SECONDS = 30, 0.1
"""Of `--in-turn`."""
MIXED_ROWS = (16, 5, 12, 16, 3, 9)
"""What a batcher sends; run before the memory is looked at."""

Change = Callable[[onnxruntime.SessionOptions], None]


def _entry(name: str, value: str) -> Change:
    return lambda options: options.add_session_config_entry(name, value)


def _attribute(name: str, value: Any) -> Change:
    return lambda options: setattr(options, name, value)


SAVED = "optimised graph, saved"
_READ_OPTIMISED = _attribute("graph_optimization_level", onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
VARIANTS: dict[str, Change] = {
    "as the server": lambda options: None,
    "with memory pattern": _attribute("enable_mem_pattern", True),
    SAVED: _READ_OPTIMISED,
    "without arena": _attribute("enable_cpu_mem_arena", False),
    "denormals as zero": _entry("session.set_denormal_as_zero", "1"),
    "dynamic_block_base 4": _entry("session.dynamic_block_base", "4"),
    "spinning": _entry("session.intra_op.allow_spinning", "1"),
    "without prepacking": _entry("session.disable_prepacking", "1"),
    "2 threads": _attribute("intra_op_num_threads", 2),
    "2 threads, dynamic_block_base 4": lambda options: (
        setattr(options, "intra_op_num_threads", 2),
        options.add_session_config_entry("session.dynamic_block_base", "4"),
    )[0],
    "2 threads, spinning": lambda options: (
        setattr(options, "intra_op_num_threads", 2),
        options.add_session_config_entry("session.intra_op.allow_spinning", "1"),
    )[0],
}


def measure(variant: str, model: Path, rows: list[int], optimised: Path | None) -> dict[str, Any]:
    """Open the model, or the optimised one of it that was saved, and run it, in this process."""
    options = session_options(THREADS)
    VARIANTS[variant](options)
    before, start = _kibibytes(), process_time()
    if optimised:
        file_hash(model)  # to know that the saved graph is that of this file
    session = onnxruntime.InferenceSession(str(optimised or model), options, providers=["CPUExecutionProvider"])
    result: dict[str, Any] = {"open_ms": 1e3 * (process_time() - start)}
    for count in rows:
        inputs = {node.name: _values(node, count) for node in session.get_inputs()}
        answers = session.run(None, inputs)
        result.setdefault("answers", []).extend(np.asarray(answers[0], np.float64).ravel()[:8].tolist())
        runs, start = 0, process_time()
        while process_time() - start < SECONDS:
            session.run(None, inputs)
            runs += 1
        result[f"{count} cpu_us"] = 1e6 * (process_time() - start) / runs / count
    for count in MIXED_ROWS:
        session.run(None, {node.name: _values(node, count) for node in session.get_inputs()})
    result["mib"] = (_kibibytes() - before) / 1024
    return result


def compare_in_turn(variant: str, model: Path, rows: list[int]) -> str:
    """The CPU time of a variant as a multiple of the server's, by the number of rows."""
    sessions = []
    for change in (VARIANTS["as the server"], VARIANTS[variant]):
        options = session_options(THREADS)
        change(options)
        sessions.append(onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]))
    ratios = []
    for count in rows:
        inputs = {node.name: _values(node, count) for node in sessions[0].get_inputs()}
        best = [math.inf, math.inf]
        for _ in range(TURNS):
            for index, session in enumerate(sessions):
                best[index] = min(best[index], _cpu_seconds(session, inputs))
        ratios.append(f"{count} rows {best[1] / best[0]:.3f}")
    return f"{_name(model)}: {variant}, CPU time to the server's: {', '.join(ratios)}"


def _cpu_seconds(session: Any, inputs: dict[str, np.ndarray]) -> float:
    runs, start = 0, process_time()
    while process_time() - start < TURN_SECONDS or runs < 2:
        session.run(None, inputs)
        runs += 1
    return (process_time() - start) / runs


def _save_optimised(model: Path, target: Path) -> None:
    options = session_options(THREADS)
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _values(node: Any, rows: int) -> np.ndarray:
    shape = [axis if isinstance(axis, int) else 168 for axis in node.shape]
    shape[0] = rows
    random = np.random.default_rng(0)
    if node.type == "tensor(string)":
        return np.full(shape, "a film that one likes to see again, and again", object)
    if node.type == "tensor(uint8)":
        return random.integers(0, 256, shape, np.uint8)
    return random.standard_normal(shape).astype(np.float32)


def _kibibytes() -> int:
    """The most memory that this process had; `getrusage` would count that of its parent."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def compare(model: Path, rows: list[int], rounds: int) -> Table:
    """A table of the variants for one model."""
    best: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder, "optimised.onnx")
        _save_optimised(model, optimised)
        for _, variant in itertools.product(range(rounds), VARIANTS):
            command = [sys.executable, "-m", __spec__.name, str(model), "--variant", variant, "--rows", *map(str, rows)]
            if variant == SAVED:
                command += ["--optimised", str(optimised)]
            got = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            kept = best.setdefault(variant, got)
            best[variant] = {key: min(kept[key], value) for key, value in got.items()}
    columns = [f"{count} rows: CPU us a row" for count in rows]
    table = Table("variant", "open, CPU ms", *columns, "memory, MiB", "same answers", title=_name(model), box=None)
    expected = np.array(best["as the server"]["answers"])
    for variant, got in best.items():
        times = [f"{got[f'{count} cpu_us']:.0f}" for count in rows]
        same = np.allclose(got["answers"], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        table.add_row(variant, f"{got['open_ms']:.1f}", *times, f"{got['mib']:.0f}", "yes" if same else "NO")
    return table


def _name(model: Path) -> str:
    return model.parts[-3] if model.name == "model.onnx" else model.stem


def main() -> None:
    """Parse; compare, or be one of the processes that are compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-turn", choices=VARIANTS, metavar="VARIANT")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--optimised", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure(arguments.variant, arguments.models[0], arguments.rows, arguments.optimised)))
        return
    console = Console(width=160)
    for model in arguments.models or sorted(BUNDLED.glob("*/*/model.onnx")):
        if arguments.in_turn:
            console.print(compare_in_turn(arguments.in_turn, model, arguments.rows), highlight=False)
        else:
            console.print(compare(model, arguments.rows, arguments.rounds))


if __name__ == "__main__":
    main()
