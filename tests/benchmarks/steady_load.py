"""A steady load on a server: requests leave at their times, whether earlier ones were answered or not.

Latency counts from the time at which a request should have left, so that a server that stalls does not look fast
because its callers wait with it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import grpc
import numpy as np

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from service.backend.contract import Tensors
from tests.service.calls import infer_request, numbers
from zoo.card import Card
from zoo.golden import golden_inputs, output_name


@dataclass(frozen=True)
class Outcome:
    """What became of a request."""

    due: float
    """When it should have left, by `perf_counter`."""
    seconds: float
    """From then to its end."""
    code: str
    """OK, or the gRPC status."""
    version: str = ""
    """That answered."""
    right: bool = True
    """Whether the answer is the one to this question."""


@dataclass(frozen=True)
class Question:
    """A request and the check of its answer."""

    request: pb.ModelInferRequest
    is_right: Callable[[pb.ModelInferResponse], bool]


def golden_questions(name: str, card: Card, rows: int = 1) -> list[Question]:
    """The golden samples of a model with numeric inputs, each in as many rows of a request; an answer must be that of
    its own sample."""
    inputs, output = golden_inputs(card), output_name(card.task)
    samples = range(len(card.golden.samples))
    repeated = [{key: np.repeat(value[i : i + 1], rows, axis=0) for key, value in inputs.items()} for i in samples]
    return [_golden_question(name, card, repeated[i], output, i) for i in samples]


def _golden_question(name: str, card: Card, inputs: Tensors, output: str, sample: int) -> Question:
    expected = np.array(card.golden.samples[sample].expected)
    tolerance = card.golden.atol + card.golden.rtol * np.abs(expected)

    def is_right(response: pb.ModelInferResponse) -> bool:
        return bool((np.abs(numbers(response)[output].reshape(-1, expected.size) - expected) <= tolerance).all())

    return Question(infer_request(name, inputs, [output]), is_right)


@dataclass
class Load:
    """Callers of one server, on one channel."""

    address: str
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self, questions: Sequence[Question], per_second: float, until: Awaitable[object]) -> None:
        """Ask the questions in turn at this rate until something is done, then wait for the last answers."""
        done = asyncio.ensure_future(until)
        async with grpc.aio.insecure_channel(self.address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            start, tasks = perf_counter(), set()
            count = 0
            while not done.done():
                due = start + count / per_second
                await asyncio.sleep(max(due - perf_counter(), 0))
                task = asyncio.create_task(self._ask(stub, questions[count % len(questions)], due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                count += 1
            await asyncio.gather(*tasks)
        await done

    async def saturate(self, questions: Sequence[Question], callers: int, seconds: float) -> float:
        """Right answers a second to so many callers that ask again as soon as they have their answer."""
        end = perf_counter() + seconds
        before = len(self.outcomes)

        async def keep_asking(stub: grpc_service_pb2_grpc.GRPCInferenceServiceStub, number: int) -> None:
            while perf_counter() < end:
                await self._ask(stub, questions[number % len(questions)], perf_counter())

        async with grpc.aio.insecure_channel(self.address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            await asyncio.gather(*(keep_asking(stub, number) for number in range(callers)))
        return sum(outcome.code == "OK" and outcome.right for outcome in self.outcomes[before:]) / seconds

    async def _ask(self, stub: grpc_service_pb2_grpc.GRPCInferenceServiceStub, question: Question, due: float) -> None:
        try:
            response = await stub.ModelInfer(question.request, timeout=60)
        except grpc.aio.AioRpcError as exc:
            self.outcomes.append(Outcome(due, perf_counter() - due, exc.code().name))
            return
        seconds = perf_counter() - due
        self.outcomes.append(Outcome(due, seconds, "OK", response.model_version, question.is_right(response)))


def percentile(outcomes: Iterable[Outcome], percent: float) -> float:
    """Of the latencies, in milliseconds; NaN without any."""
    values = [1e3 * outcome.seconds for outcome in outcomes]
    return float(np.percentile(values, percent)) if values else float("nan")


def summary(title: str, outcomes: Sequence[Outcome]) -> str:
    """A row of a table: requests, lost, wrong, p50, p95, p99, max in milliseconds, and who answered."""
    lost = sum(outcome.code != "OK" for outcome in outcomes)
    wrong = sum(not outcome.right for outcome in outcomes)
    times = " | ".join(f"{percentile(outcomes, percent):.1f}" for percent in (50, 95, 99, 100))
    versions = Counter(outcome.version for outcome in outcomes if outcome.version)
    who = ", ".join(f"{version}: {count}" for version, count in sorted(versions.items()))
    return f"| {title} | {len(outcomes)} | {lost} | {wrong} | {times} | {who} |"


HEADER = (
    "| phase | requests | lost | wrong | p50 ms | p95 ms | p99 ms | max ms | answered by version |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
