"""One open loop: requests of single items that leave at 70 % of what the server can do now."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter

from tests.benchmarks import cells, workloads
from tests.benchmarks.canary import Canary
from tests.benchmarks.cells import Running
from tests.benchmarks.open_loop import ARRIVALS, Lateness, Load, percentile
from tests.benchmarks.results import OpenLoop
from tests.benchmarks.workloads import Workload

SHARE_OF_CAPACITY = 0.7
_CALLERS = 16
"""Of the closed loops that tell the capacity."""


def measure(
    server: Running, workload: Workload, arrivals: str, *, seconds: float, connections: int | None
) -> OpenLoop | None:
    """Ask for five times as many seconds, between two closed loops; None where those have a problem.

    Cores of a virtual machine become faster and slower within a minute: at 70 % of what they did a while ago a server
    may have more to do than it can.
    """
    capacity = _capacity(server, workload, seconds, connections)
    if math.isnan(capacity):
        return None
    rate, seconds_open = SHARE_OF_CAPACITY * capacity, 5 * seconds
    load = Load(server.address)
    questions = [workload.question(1, row) for row in range(workloads.ROWS)]
    canary, taken = Canary(), time.process_time()
    with canary.singing():
        asyncio.run(load.run_for(questions, ARRIVALS[arrivals](rate), seconds_open))
    taken = (time.process_time() - taken) / seconds_open
    outcomes = load.outcomes
    return OpenLoop(
        workload=workload.name,
        arrivals=arrivals,
        share=SHARE_OF_CAPACITY,
        share_after=rate / _capacity(server, workload, seconds, connections),
        requests=len(outcomes),
        failed=dict(Counter(outcome.code for outcome in outcomes if outcome.code != "OK")),
        wrong=sum(not outcome.right for outcome in outcomes),
        p50_ms=percentile(outcomes, 50),
        p95_ms=percentile(outcomes, 95),
        p99_ms=percentile(outcomes, 99),
        unevenness=canary.unevenness,
        generator=Lateness.of(outcomes, rate, seconds_open, taken),
    )


def _capacity(server: Running, workload: Workload, seconds: float, connections: int | None) -> float:
    """Requests a second that a closed loop reaches now; NaN where there is a problem."""
    cell = cells.measure(
        server,
        workload.name,
        workload.question,
        items=1,
        callers=_CALLERS,
        seconds=seconds,
        connections=connections,
    )
    return math.nan if cell.problem else cell.requests_per_second
