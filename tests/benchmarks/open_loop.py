"""A load on a server whose requests leave at their times, whether earlier ones were answered or not.

Latency counts from the time at which a request should have left, so that a server that stalls does not look fast
because its callers wait with it ("coordinated omission"). The times are made beforehand. Where the generator itself is
late, that is in the latencies too, and `Lateness` says so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import nan
from time import perf_counter

import grpc
import numpy as np

from tests.benchmarks.questions import Question, Verdict

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_LATE_MS = 5.0
_LATE_SHARE = 0.1

Ask = Callable[..., Awaitable[bytes]]
"""Sends a message, with a timeout."""


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
    wrong: str = ""
    """What is wrong with the answer; empty: nothing."""
    late: float = 0.0
    """Seconds from when it should have left to when it did."""

    @property
    def right(self) -> bool:
        """Whether the answer is the one to this question."""
        return not self.wrong


def steady(per_second: float) -> Iterator[float]:
    """Seconds from the start at which requests leave, for ever: equally spaced."""
    return (number / per_second for number in count())


def poisson(per_second: float, seed: int = 0) -> Iterator[float]:
    """Seconds from the start at which requests leave, for ever: as of many independent callers."""
    rng, time = np.random.default_rng(seed), 0.0
    while True:
        for gap in rng.exponential(1 / per_second, 1000):
            time += float(gap)
            yield time


ARRIVALS: dict[str, Callable[[float], Iterator[float]]] = {"steady": steady, "Poisson": poisson}
"""How requests may come. Poisson's are those of independent callers, and hard on a server: one that takes a fixed time
for each, one after the other (M/D/1), has a p99 of 4.3 times its p50 at 70 % of its capacity."""


@dataclass
class Load:
    """Callers of one server, on one channel."""

    address: str
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self, questions: Sequence[Question], times: Iterable[float], until: Awaitable[object]) -> None:
        """Ask the questions in turn at these times until something is done, then wait for the last answers."""
        done = asyncio.ensure_future(until)
        async with grpc.aio.insecure_channel(self.address, options=_OPTIONS) as channel:
            asks = [channel.unary_unary(question.path) for question in questions]
            start, tasks = perf_counter(), set()
            for number, time in enumerate(times):
                await asyncio.sleep(max(start + time - perf_counter(), 0))
                if done.done():
                    break
                turn = number % len(questions)
                task = asyncio.create_task(self._ask(asks[turn], questions[turn], start + time))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        await done

    async def run_for(self, questions: Sequence[Question], times: Iterable[float], seconds: float) -> None:
        """Ask the questions in turn at these times for so long, then wait for the last answers."""
        await self.run(questions, times, asyncio.sleep(seconds))

    async def saturate(self, questions: Sequence[Question], callers: int, seconds: float) -> float:
        """Right answers a second to so many callers that ask again as soon as they have their answer."""
        end = perf_counter() + seconds
        before = len(self.outcomes)

        async def keep_asking(channel: grpc.aio.Channel, question: Question) -> None:
            ask = channel.unary_unary(question.path)
            while perf_counter() < end:
                await self._ask(ask, question, perf_counter())

        async with grpc.aio.insecure_channel(self.address, options=_OPTIONS) as channel:
            await asyncio.gather(*(keep_asking(channel, questions[n % len(questions)]) for n in range(callers)))
        return sum(outcome.code == "OK" and outcome.right for outcome in self.outcomes[before:]) / seconds

    async def _ask(self, ask: Ask, question: Question, due: float) -> None:
        late = perf_counter() - due
        try:
            answer = await ask(question.message, timeout=60)
        except grpc.aio.AioRpcError as exc:
            self.outcomes.append(Outcome(due, perf_counter() - due, exc.code().name, late=late))
            return
        seconds = perf_counter() - due
        verdict: Verdict = question.judge(answer)
        self.outcomes.append(Outcome(due, seconds, "OK", verdict.version, verdict.wrong, late))


@dataclass(frozen=True)
class Lateness:
    """How well the generator kept its times."""

    asked_per_second: float
    achieved_per_second: float
    p99_ms: float
    """How late one in a hundred left."""
    cores: float
    """That the generator itself took from the server on average; NaN: not measured."""
    behind: bool
    """Whether the latencies say more about the generator than about the server: a hundredth of the requests left later
    than 5 ms and a tenth of the median latency, or a hundredth did not leave at all."""

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], asked_per_second: float, seconds: float, cores: float = nan) -> Lateness:
        """Judge a run of so many seconds."""
        p99 = float(np.percentile([1e3 * outcome.late for outcome in outcomes], 99)) if outcomes else float("nan")
        achieved = len(outcomes) / seconds
        late = p99 > max(_LATE_MS, _LATE_SHARE * percentile(outcomes, 50))
        # The number of arrivals in a time is itself random: three standard deviations of it are no fault.
        spread = 3 * np.sqrt(asked_per_second * seconds) / seconds
        return cls(asked_per_second, achieved, p99, cores, bool(late or achieved < 0.99 * asked_per_second - spread))


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
