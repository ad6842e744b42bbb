"""`make demo`: starts a server on the bundled zoo, asks it one question of every kind, and stops it again."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from service.client.batches import Outcome
from service.client.client import Client, History
from service.client.errors import ClientError
from service.client.health import is_serving
from service.client.render import classification_table
from zoo import BUNDLED
from zoo.card import Card, ImageTask, SeriesTask
from zoo.package import read_card
from zoo.repository import scan

SENTENCES = {
    "sentiment-ko": [
        "정말 재미있게 봤어요. 배우들 연기가 최고입니다!",
        "시간이 아깝다. 스토리가 너무 지루하고 뻔하다",
        "기대 안 했는데 눈물이 났다 강력 추천",
    ],
    "sentiment-en": [
        "The battery lasts all day and the sound is great.",
        "Terrible service, the food was cold and I will not come back.",
        "Works exactly as described, very happy with it.",
    ],
}
START_SECONDS = 60

console = Console()


def main() -> None:
    """Run the demonstration; exit code 0 when every question got its answer."""
    try:
        with _server() as (address, metrics_url), Client(address) as client:
            cards = {item.name: card for item in scan(BUNDLED).versions if (card := read_card(item.path))}
            for name, card in cards.items():
                _ask(client, name, card)
            _show_metrics(metrics_url)
    except ClientError as exc:
        sys.exit(f"the demo failed: {exc}")


def _ask(client: Client, name: str, card: Card) -> None:
    console.rule(f"[bold]{name}[/]  {card.task.kind.replace('_', ' ')}, test {card.headline()}", align="left")
    samples = card.golden.samples
    match card.task:
        case ImageTask():
            photographs = [sample.image for sample in samples if sample.image]
            answers = _timed(lambda: client.classify_images(name, photographs, top_k=3), len(photographs))
            names = [f"photograph {number} ({len(data):,} bytes)" for number, data in enumerate(photographs, 1)]
            console.print(classification_table(list(map(Outcome, names, answers))))
        case SeriesTask():
            columns = {
                feature.name: [row[index] for row in samples[0].history or ()]
                for index, feature in enumerate(card.task.features)
            }
            (forecast,) = _timed(lambda: client.forecast(name, [History(columns)]), 1)
            for target in card.task.targets:
                _print_forecast(target.name, target.unit, columns[target.name], forecast.values[target.name])
        case _:
            sentences = SENTENCES.get(name) or [sample.text or "" for sample in samples]
            answers = _timed(lambda: client.classify_texts(name, sentences), len(sentences))
            console.print(classification_table(list(map(Outcome, sentences, answers))))
    console.print()


def _timed(call: Callable[[], Any], items: int) -> Any:
    started = time.perf_counter()
    answer = call()
    milliseconds = (time.perf_counter() - started) * 1e3
    console.print(f"[dim]{items} item{'s' if items > 1 else ''} in one request: {milliseconds:.1f} ms[/]")
    return answer


def _print_forecast(name: str, unit: str, past: list[float], future: tuple[float, ...]) -> None:
    low, high = min(*past, *future), max(*past, *future)
    console.print(f"{name}, {unit}: {len(past)} readings in, {len(future)} forecast")
    console.print(f"  past    {_sparkline(past[-48:], low, high)} (the last {min(48, len(past))})")
    console.print(f"  future  [bold]{_sparkline(list(future), low, high)}[/]")
    table = Table(*(f"+{step + 1}" for step in range(0, len(future), 3)), box=None, pad_edge=False, header_style="dim")
    table.add_row(*(f"{value:,.0f}" for value in future[::3]))
    console.print(table)


def _sparkline(values: list[float], low: float, high: float) -> str:
    bars = "▁▂▃▄▅▆▇█"
    scale = (len(bars) - 1) / ((high - low) or 1)
    return "".join(bars[round((value - low) * scale)] for value in values)


def _show_metrics(url: str) -> None:
    console.rule(f"[bold]metrics[/]  {url}", align="left")
    with urllib.request.urlopen(url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    for line in lines:
        if line.startswith("menagerie_requests_total"):
            console.print(line, style="dim", highlight=False, soft_wrap=True)
    console.print(f"{len(lines)} lines in all\n")


@contextmanager
def _server() -> Iterator[tuple[str, str]]:
    """A server on free ports, as (address, metrics URL); stopped with SIGTERM at the end."""
    port, metrics_port = _free_port(), _free_port()
    command = [sys.executable, "-m", "service", "--port", str(port), "--metrics-port", str(metrics_port)]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            started = time.perf_counter()
            _wait_until_serving(process, log, f"127.0.0.1:{port}")
            console.print(f"[dim]{' '.join(command)}[/]", soft_wrap=True, highlight=False)
            console.print(f"ready after {time.perf_counter() - started:.1f} s\n")
            yield f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics"
        finally:
            process.terminate()
        if process.wait(timeout=START_SECONDS) != 0:
            raise ClientError(f"the server ended with exit code {process.returncode}\n{_tail(log)}")
        console.print("server stopped, exit code 0")


def _wait_until_serving(process: subprocess.Popen[bytes], log: IO[bytes], address: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not is_serving(address):
        if process.poll() is not None or time.monotonic() > give_up:
            raise ClientError(f"the server did not become ready\n{_tail(log)}")
        time.sleep(0.05)


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-3000:]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
