"""A real server in the test's event loop, on free ports, with small real models, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.server import Server
from service.settings import Settings
from tests import cards, graphs
from tests.service import plain_graphs
from tests.service.calls import Calls
from zoo.card import Card, Golden, GoldenSample
from zoo.repository import MODEL_FILE, publish


def add_plain(repository: Path, name: str, data: bytes, version: int = 1) -> Path:
    """Put an ONNX file without a card, or any bytes, into a repository."""
    file = repository / name / str(version) / MODEL_FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    return file


def golden_text_card() -> Card:
    """The card of the text graph, with two golden samples that it reproduces."""
    samples = (
        GoldenSample(text="good", expected=(0.000335, 0.999665)),
        GoldenSample(text="bad", expected=(0.999665, 0.000335)),
    )
    return cards.text_card(Golden(samples=samples))


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each task and several plain graphs; tests that change a repository make their own."""
    folder = tmp_path_factory.mktemp("repository")
    publish(graphs.image_graph(), cards.image_card(), folder, "shades")
    publish(graphs.text_graph(), golden_text_card(), folder, "moods")
    publish(graphs.forecast_graph(), cards.forecast_card(), folder, "load")
    for name, data in {
        "affine": plain_graphs.affine(),
        "weighted-sum": plain_graphs.weighted_sum(),
        "running-sum": plain_graphs.running_sum(),
        "single-row": plain_graphs.affine((1, 3)),
        "four-rows": plain_graphs.affine((4, 3)),
        "lookup": plain_graphs.lookup(),
        "busy": plain_graphs.busy(),
        "words": plain_graphs.echo("BYTES"),
    }.items():
        add_plain(folder, name, data)
    return folder


@asynccontextmanager
async def serving(*repositories: Path, **settings: Any) -> AsyncIterator[Calls]:
    """A server whose models are loaded, and a channel to it."""
    defaults = {"repository": repositories, "port": 0, "metrics_port": 0, "device": "cpu", "drain_seconds": 5}
    async with Server(Settings(**(defaults | settings))) as server:
        await server.wait_loaded()
        async with Calls(server) as calls:
            yield calls


Serve = Callable[..., Awaitable[Calls]]


@pytest.fixture
async def serve(repository: Path) -> AsyncIterator[Serve]:
    """Starts a server with other settings than the default; it stops when the test ends."""
    async with AsyncExitStack() as stack:

        async def start(*repositories: Path, **settings: Any) -> Calls:
            return await stack.enter_async_context(serving(*(repositories or (repository,)), **settings))

        yield start


@pytest.fixture
async def calls(serve: Serve) -> Calls:
    """A server on the session's repository."""
    return await serve()
