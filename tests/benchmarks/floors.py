"""The floors, measured in the same run on the same cores: the engine without a server, a server without an engine."""

from __future__ import annotations

from tests.benchmarks import h2load, raw_runtime
from tests.benchmarks.questions import Question, Verdict
from tests.benchmarks.results import EchoFloor, RawFloor, Results
from tests.benchmarks.workloads import Workload


def search_raw(workload: Workload, seconds: float) -> RawFloor:
    """Look for the best batch and threads, so many seconds for each."""
    asked = raw_runtime.configurations(workload.batches)
    return RawFloor(workload.model, raw_runtime.measure(workload.file, workload.inputs, asked, seconds))


def repeat_raw(floor: RawFloor, workload: Workload, seconds: float) -> None:
    """Measure the best configuration again: the machine may have become faster or slower meanwhile."""
    (speed,) = raw_runtime.measure(workload.file, workload.inputs, [floor.best], seconds)
    floor.again.append(speed)


def measure_echo(
    addresses: dict[str, str], results: Results, size: tuple[int, int], callers: int, seconds: float
) -> None:
    """Add what bare servers reach with messages of this size, request and answer, where it was not measured yet.

    Args:
        addresses: of a server of each kind, see `echo.running`.
        results: where it is added.
        size: of the messages, in bytes.
        callers: requests under way at a time.
        seconds: for each kind.
    """
    if any((floor.request_bytes, floor.answer_bytes, floor.callers) == (*size, callers) for floor in results.echo):
        return
    question = echo_question(*size)
    for kind, address in addresses.items():
        requests = h2load.warm_up(address, question, callers, seconds)
        result = h2load.run(address, question, callers, requests)
        p50, p99 = result.percentile(50), result.percentile(99)
        results.echo.append(EchoFloor(kind, *size, callers, result.per_second, p50, p99))


def echo_question(request_bytes: int, answer_bytes: int) -> Question:
    """A message of that size, whose answer has that size."""

    def judge(answer: bytes) -> Verdict:
        return Verdict("" if len(answer) == answer_bytes else f"{len(answer)} bytes instead of {answer_bytes}")

    return Question(f"/echo.Echo/{answer_bytes}", bytes(request_bytes), judge)
