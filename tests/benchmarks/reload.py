"""A reload under steady load: latency before, during and after; no request lost, every answer right.

    python -m tests.benchmarks.reload --rate 100 --seconds 10 --reloads 5

A server in poll mode serves the bundled forecaster. While requests arrive at a steady rate, new versions are published
one after the other, each the same model, so that every answer can be checked; the version in the answer tells when the
new one took over. "during" is from each publication to one second after the first answer of the new version. With
--large-mib the new versions are of another, large model, which nobody asks: what one model's reload costs the others.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tests.benchmarks.open_loop import HEADER, Load, Outcome, steady, summary
from tests.benchmarks.questions import golden_questions
from tests.service import plain_graphs
from tests.service.processes import Process, running
from zoo import BUNDLED
from zoo.package import read_card
from zoo.repository import MODEL_FILE

MODEL = "load-forecast"
TAIL_SECONDS = 1.0


@dataclass(frozen=True)
class Span:
    """When a reload was under way, by `perf_counter`."""

    start: float
    end: float
    took_over: float
    """Seconds from the publication to the log line that the new version is ready."""


def main() -> int:
    """Print a table; exit code 1 where a request was lost or answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10, help="before, between and after the reloads")
    parser.add_argument("--reloads", type=int, default=5)
    parser.add_argument("--large-mib", type=int, default=0, help="reload another model of this size instead")
    options = parser.parse_args()
    load, spans = measure(options.rate, options.seconds, options.reloads, options.large_mib)
    return _report(load.outcomes, spans)


def measure(
    rate: float, seconds: float, reloads: int, large_mib: int = 0, flags: Sequence[str] = ()
) -> tuple[Load, list[Span]]:
    """Ask a server of its own at this rate, for so many seconds before, between and after the reloads."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(BUNDLED / MODEL, Path(folder) / MODEL)
        polling = ("--repository", folder, "--control-mode", "poll", "--poll-seconds", "0.5")
        with running(*polling, *flags) as server:
            server.wait_for("models ready")
            load = Load(server.address)
            plan = _Plan(rate, seconds, reloads, large_mib)
            return load, asyncio.run(_measure(load, server, Path(folder), plan))


@dataclass(frozen=True)
class _Plan:
    rate: float
    seconds: float
    reloads: int
    large_mib: int


async def _measure(load: Load, server: Process, repository: Path, plan: _Plan) -> list[Span]:
    file = next((repository / MODEL).glob(f"*/{MODEL_FILE}"))
    card = read_card(file)
    assert card is not None, "bundled models have one"
    spans: list[Span] = []
    name, data = ("large", plain_graphs.large(plan.large_mib)) if plan.large_mib else (MODEL, file.read_bytes())
    reloads = asyncio.create_task(_reload(server, repository / name, data, spans, plan))
    await load.run(golden_questions(MODEL, card), steady(plan.rate), reloads)
    return spans


async def _reload(server: Process, model: Path, data: bytes, spans: list[Span], plan: _Plan) -> None:
    await asyncio.sleep(plan.seconds)
    for number in range(2, plan.reloads + 2):
        start = perf_counter()
        await asyncio.to_thread(_publish, model, number, data)
        await asyncio.to_thread(server.wait_for, f"model {model.name} {number}: ready")
        took_over = perf_counter() - start
        await asyncio.sleep(TAIL_SECONDS)
        shutil.rmtree(model / str(number - 1), ignore_errors=True)
        spans.append(Span(start, perf_counter(), took_over))
        await asyncio.sleep(plan.seconds / plan.reloads if number <= plan.reloads else plan.seconds)


def _publish(model: Path, version: int, data: bytes) -> None:
    aside = model / f".{version}"
    aside.mkdir(parents=True)
    (aside / MODEL_FILE).write_bytes(data)
    aside.rename(model / str(version))


def phases(outcomes: Sequence[Outcome], spans: Sequence[Span]) -> dict[str, list[Outcome]]:
    """The outcomes before, during, between and after the reloads."""
    during = [o for o in outcomes if any(span.start <= o.due < span.end for span in spans)]
    return {
        "before": [o for o in outcomes if o.due < spans[0].start],
        "during": during,
        "between": [o for o in outcomes if spans[0].end <= o.due < spans[-1].start and o not in during],
        "after": [o for o in outcomes if o.due >= spans[-1].end],
    }


def _report(outcomes: list[Outcome], spans: list[Span]) -> int:
    print(HEADER)
    for title, part in phases(outcomes, spans).items():
        print(summary(title, part))
    print("took over after", ", ".join(f"{span.took_over:.1f} s" for span in spans), time.strftime("(%Y-%m-%d)"))
    return int(any(outcome.code != "OK" or not outcome.right for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
