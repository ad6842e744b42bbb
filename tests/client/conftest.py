"""A real server process on a small repository, for everything that a client does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.health import is_serving
from tests.cards import forecast_card, image_card, text_card
from tests.conftest import free_port
from tests.graphs import forecast_graph, image_graph, text_graph
from zoo.repository import publish


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a server with the models shades, moods and load."""
    repository = tmp_path_factory.mktemp("models")
    publish(image_graph(), image_card(), repository, "shades")
    publish(text_graph(), text_card(), repository, "moods", version=3)
    publish(forecast_graph(), forecast_card(), repository, "load")
    with start_server(repository) as (found, _):
        yield found


class start_server:  # noqa: N801  # used like a function
    """Run `python -m service` on a repository: (address, metrics URL); stopped with SIGTERM."""

    def __init__(self, repository: Path) -> None:
        port, metrics_port = free_port(), free_port()
        ports = ["--port", str(port), "--metrics-port", str(metrics_port)]
        self.command = [sys.executable, "-m", "service", "--repository", str(repository), *ports]
        self.found = f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics"

    def __enter__(self) -> tuple[str, str]:
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not is_serving(self.found[0]):
            assert self.process.poll() is None, "the server died"
            assert time.monotonic() < end, "the server did not become ready"
            time.sleep(0.05)
        return self.found

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0
