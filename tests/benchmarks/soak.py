"""A long day in minutes: everything that callers and operators do, and nothing may grow.

    python -m tests.benchmarks.soak --minutes 10

Good, bad, impatient and cancelled requests of every kind, health checks and scrapes, while models are reloaded and
broken versions come and go. Memory, threads and open files of the server are sampled; after a fifth of the time, when
caches and pools have filled, they must stay as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import grpc
import numpy as np

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from menagerie.v1 import model_pb2, prediction_service_pb2_grpc
from menagerie.v1 import prediction_service_pb2 as prediction
from tests import cards, graphs
from tests.service import plain_graphs
from tests.service.calls import history, infer_request, picture
from tests.service.conftest import add_plain, golden_text_card
from tests.service.processes import running
from zoo.repository import publish

SAMPLE_SECONDS = 1.0
RELOAD_SECONDS = 2.0
CALLERS = 6
MEMORY_GROWTH = 0.04
"""Of the resident memory, from the first to the last third of the samples; noise of the allocator."""


@dataclass(frozen=True)
class Sample:
    """What the server holds."""

    mebibytes: float
    threads: int
    files: int


def main() -> int:
    """Print what was held; exit code 1 where something grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        _fill(repository)
        flags = ("--repository", folder, "--control-mode", "poll", "--poll-seconds", "0.5", "--log-level", "info")
        with running(*flags) as server:
            server.wait_for("models ready")
            url = server.wait_for(r"metrics on (\S+)")[1]
            soak = Soak(server.address, url, server.process.pid, repository, monotonic() + 60 * options.minutes)
            asyncio.run(soak.run())
            reloads = sum(": ready on" in line for line in server.lines) - 4
            bugs = _tracebacks(server.lines)
    print(f"{sum(soak.codes.values())} requests, {reloads} reloads; {dict(soak.codes.most_common())}")
    return _report(soak.samples, bugs)


def _fill(repository: Path) -> None:
    publish(graphs.image_graph(), cards.image_card(), repository, "shades")
    publish(graphs.text_graph(), golden_text_card(), repository, "moods")
    publish(graphs.forecast_graph(), cards.forecast_card(), repository, "load")
    add_plain(repository, "large", plain_graphs.large(4))


class Soak:
    """Callers and an operator at work until `end`."""

    def __init__(self, address: str, metrics_url: str, pid: int, repository: Path, end: float) -> None:
        self.samples: list[Sample] = []
        self.codes: Counter[str] = Counter()
        self._address, self._metrics_url, self._pid = address, metrics_url, pid
        self._repository, self._end = repository, end

    async def run(self) -> None:
        """Work, and watch what the server holds."""
        callers = (self._call(number) for number in range(CALLERS))
        await asyncio.gather(*callers, self._watch(), self._operate(), self._scrape())

    async def _call(self, number: int) -> None:
        """Ask for everything in turn, on a channel that is new every 200 requests."""
        for turn in itertools.count(number):
            if monotonic() > self._end:
                return
            async with grpc.aio.insecure_channel(self._address) as channel:
                kinds = _kinds(channel)
                for kind in range(200):
                    await self._one(kinds[(turn + kind) % len(kinds)])

    async def _one(self, ask: Callable[[], Awaitable[object]]) -> None:
        try:
            await ask()
            self.codes["OK"] += 1
        except grpc.aio.AioRpcError as exc:
            self.codes[exc.code().name] += 1
        except TimeoutError:
            self.codes["left"] += 1

    async def _operate(self) -> None:
        """New versions, old ones that go, a broken one now and then, a file that is written again."""
        large = (self._repository / "large/1/model.onnx").read_bytes()
        for turn in itertools.count(2):
            if monotonic() > self._end:
                return
            await asyncio.sleep(RELOAD_SECONDS)
            publish(graphs.text_graph(), golden_text_card(), self._repository, "moods", turn)
            shutil.rmtree(self._repository / "moods" / str(turn - 1))
            add_plain(self._repository, "large", large if turn % 3 else b"broken", turn)
            if turn > 4:
                shutil.rmtree(self._repository / "large" / str(turn - 3))

    async def _watch(self) -> None:
        while monotonic() < self._end:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.samples.append(_sample(self._pid))

    async def _scrape(self) -> None:
        while monotonic() < self._end:
            await asyncio.to_thread(lambda: urllib.request.urlopen(self._metrics_url, timeout=30).read())
            await asyncio.sleep(SAMPLE_SECONDS)


def _kinds(channel: grpc.aio.Channel) -> list[Callable[[], Awaitable[object]]]:
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    tensors = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    shades, moods, load = (model_pb2.ModelRef(name=name) for name in ("shades", "moods", "load"))
    good, bad = picture(200, (64, 48)), b"\x89PNG no picture"
    wide = infer_request("large", {"x": np.ones((2, 64), np.float32)}, ["y"])

    def images(image: bytes) -> Awaitable[object]:
        call: Awaitable[object] = predictions.ClassifyImages(
            prediction.ClassifyImagesRequest(model=shades, images=[image] * 3)
        )
        return call

    async def leave() -> object:
        async with asyncio.timeout(0.002):
            return await tensors.ModelInfer(wide)

    async def stream() -> None:
        async for _ in tensors.ModelStreamInfer(iter([wide, infer_request("nobody", {})])):
            pass

    return [
        lambda: images(good),
        lambda: images(bad),
        lambda: predictions.ClassifyTexts(prediction.ClassifyTextsRequest(model=moods, texts=["good", "bad"])),
        lambda: predictions.ClassifyTexts(prediction.ClassifyTextsRequest(model=moods, texts=[""])),
        lambda: predictions.Forecast(prediction.ForecastRequest(model=load, histories=[history([1, 2, 3])])),
        lambda: tensors.ModelInfer(wide),
        lambda: tensors.ModelInfer(wide, timeout=0.001),
        lambda: tensors.ModelInfer(infer_request("nobody", {})),
        lambda: tensors.ServerReady(pb.ServerReadyRequest()),
        lambda: tensors.ModelStatistics(pb.ModelStatisticsRequest()),
        leave,
        stream,
    ]


def _tracebacks(lines: list[str]) -> list[str]:
    """What the server logged that it should not have to."""
    starts = [i for i, line in enumerate(lines) if "This is a bug" in line or "Traceback" in line]
    return ["".join(lines[max(start - 1, 0) : start + 30]) for start in starts[:3]]


def _sample(pid: int) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Sample(
        int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), len(list(Path(f"/proc/{pid}/fd").iterdir()))
    )


def _report(samples: list[Sample], bugs: list[str]) -> int:
    settled = samples[len(samples) // 5 :]
    third = max(len(settled) // 3, 1)
    print("| | at the end of warm-up | at the end | highest |\n|---|---|---|---|")
    grown = list(bugs)
    for name, allowed in (("mebibytes", MEMORY_GROWTH), ("threads", 0.0), ("files", 0.0)):
        values = [getattr(sample, name) for sample in settled]
        first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
        print(f"| {name} | {first:.0f} | {last:.0f} | {max(values):.0f} |")
        if last > first * (1 + allowed) + 2:
            grown.append(f"{name} grew from {first:.0f} to {last:.0f}")
    for problem in grown:
        print(problem.rstrip(), file=sys.stderr)
    return int(bool(grown))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
