"""One cell of the table: a workload, asked by so many callers, with so many items in each request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.benchmarks import usage
from tests.benchmarks.checking import Checker, Client, answered
from tests.benchmarks.h2load import LoadError, Result, run, warm_up
from tests.benchmarks.questions import Question

_SIZE_TOLERANCE = 0.03
_FRAME_BYTES = 5
"""What gRPC puts before a message."""


Make = Callable[[int, int], Question]
"""Makes a question of so many items, from this row of the workload on."""


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    name: str
    address: str
    pid: int = 0
    """0: not known, so that nothing is said of its memory and time."""
    metrics_url: str = ""
    """Of a Menagerie server; empty: the checking client alone says whether requests succeed."""


@dataclass(frozen=True)
class Cell:
    """What was measured; NaN where it could not be."""

    server: str
    workload: str
    items: int
    """In a request."""
    callers: int
    problem: str = ""
    """Why there are no numbers, or why they are worth nothing; empty: they are good."""
    requests: int = 0
    seconds: float = float("nan")
    requests_per_second: float = float("nan")
    p50_ms: float = float("nan")
    p95_ms: float = float("nan")
    p99_ms: float = float("nan")
    cpu_ms_per_request: float = float("nan")
    """Of all processes of the server."""
    client_cpu_ms_per_request: float = float("nan")
    resident_mib: float = float("nan")
    proportional_mib: float = float("nan")
    checked: int = 0
    """Answers that were read and compared, all of them right."""

    @property
    def items_per_second(self) -> float:
        """Rows that the model answered."""
        return self.items * self.requests_per_second


def measure(
    server: Running,
    workload: str,
    make: Make,
    *,
    items: int,
    callers: int,
    seconds: float,
    connections: int = 0,
) -> Cell:
    """Check, load, check.

    Args:
        server: that is asked.
        workload: its name.
        make: the questions.
        items: in a request.
        callers: requests under way at a time.
        seconds: of the load, about.
        connections: that the callers share; 0: one for each.
    """
    cell = Cell(server.name, workload, items, callers)
    client = Client(server.address)
    try:
        if wrong := client.judge(make(items, 0)).wrong:
            return replace(cell, problem=f"before the load: {wrong}")
        question = make(items, 0)
        size = len(client.ask(question)) + (0 if question.http else _FRAME_BYTES)
        before = answered(server.metrics_url) if server.metrics_url else None
        cell, result = _load(server, cell, make, seconds, connections)
        wrong = client.judge(make(items, 1)).wrong
        after = answered(server.metrics_url) if server.metrics_url else None
    except LoadError as exc:
        return replace(cell, problem=str(exc))
    finally:
        client.close()
    counted = _refused(before, after, result) if before and after else ""
    return replace(
        cell, problem=_lost(result, size) or counted or cell.problem or (wrong and f"after the load: {wrong}")
    )


def _load(server: Running, cell: Cell, make: Make, seconds: float, connections: int) -> tuple[Cell, Result]:
    question = make(cell.items, 0)
    requests = warm_up(server.address, question, cell.callers, seconds, connections=connections)
    cpu = usage.cpu_seconds(server.pid) if server.pid else float("nan")
    with Checker(server.address, lambda number: make(cell.items, number)) as checker:
        result = run(server.address, question, cell.callers, requests, connections=connections)
    cpu = (usage.cpu_seconds(server.pid) if server.pid else float("nan")) - cpu
    memory = usage.memory(server.pid) if server.pid else None
    measured = replace(
        cell,
        problem=f"during the load: {checker.wrong[0]}" if checker.wrong else "",
        requests=result.requests,
        seconds=result.seconds,
        requests_per_second=result.per_second,
        p50_ms=result.percentile(50),
        p95_ms=result.percentile(95),
        p99_ms=result.percentile(99),
        cpu_ms_per_request=1e3 * cpu / (result.requests + checker.right),
        client_cpu_ms_per_request=1e3 * result.client_cpu_seconds / result.requests,
        resident_mib=memory.resident_mib if memory else float("nan"),
        proportional_mib=memory.proportional_mib if memory else float("nan"),
        checked=checker.right + 2,
    )
    return measured, result


def _lost(result: Result, size: int) -> str:
    """What h2load saw: an answer of another size than the right ones is none; an error of gRPC has no body at all."""
    if result.failed:
        return f"{result.failed} of {result.failed + result.requests} requests failed"
    if abs(result.answer_bytes - size) > _SIZE_TOLERANCE * size + 2:
        return f"answers have {result.answer_bytes:.0f} bytes on average, right ones {size}: some are errors"
    return ""


def _refused(before: Counter[str], after: Counter[str], result: Result) -> str:
    """What the server counted: every request of the load was answered, and none otherwise than OK."""
    counts = after - before
    failed = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()) if code != "OK")
    if failed:
        return f"by the server's own count: {failed}"
    if counts["OK"] < result.requests:
        return f"the server counted {counts['OK']} of {result.requests} requests"
    return ""
