"""What --instances brings: answers a second of the bundled forecaster, with one run at a time and with several.

    python -m tests.benchmarks.instances --instances 1 2 --callers 16

The servers run side by side and are asked in turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import ExitStack

import numpy as np

from tests.benchmarks.open_loop import Load, percentile
from tests.benchmarks.questions import golden_questions
from tests.service.processes import running
from zoo import BUNDLED
from zoo.package import read_card

MODEL = "load-forecast"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--rows", type=int, default=32, help="of one request")
    parser.add_argument("--seconds", type=float, default=2, help="of one turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        loads = {}
        for count in options.instances:
            server = stack.enter_context(running("--instances", str(count)))
            server.wait_for("models ready")
            loads[count] = Load(server.address)
        asyncio.run(_measure(loads, options))


async def _measure(loads: dict[int, Load], options: argparse.Namespace) -> None:
    card = read_card(next((BUNDLED / MODEL).glob("*/model.onnx")))
    assert card is not None, "bundled models have one"
    questions = golden_questions(MODEL, card, options.rows)
    rates: dict[int, list[float]] = {count: [] for count in loads}
    for _ in range(options.turns):
        for count, load in loads.items():
            rates[count].append(await load.saturate(questions, options.callers, options.seconds))
    print(
        "| instances | callers | rows a request | right rows/s, median | p50 ms | p99 ms |\n|---|---|---|---|---|---|"
    )
    for count, load in loads.items():
        times = " | ".join(f"{percentile(load.outcomes, percent):.1f}" for percent in (50, 99))
        print(
            f"| {count} | {options.callers} | {options.rows} | {options.rows * np.median(rates[count]):.0f} | {times} |"
        )


if __name__ == "__main__":
    main()
