"""Networks of every family train a step, are exported with a dynamic batch axis, pass the gate, and are served."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from service.client import Classification, Client
from service.server import Server
from service.settings import Settings
from tests.training.pictures import write_pictures
from training.pipelines.image import ImageOutcome, train_image
from training.settings import ImageSettings


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On busy machines the threads of one operator mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """A folder that does not outlive its test: vgg11 alone leaves a gigabyte in it."""
    yield tmp_path
    shutil.rmtree(tmp_path)


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("vgg11", "inception_v3")]


@pytest.mark.parametrize("backbone", ["googlenet", "resnet18", "timm/resnet10t", *LARGE])
async def test_a_backbone_trains_a_step_and_is_served(workplace: Path, backbone: str) -> None:
    data = write_pictures(workplace / "data", 3)
    outcome = await asyncio.to_thread(_train_one_step, data, backbone)
    assert outcome.parity < 1e-4  # at batches of 1, 2 and 5
    photos = [path.read_bytes() for path in sorted(data.glob("*/*.jpg"))]
    settings = Settings(repository=(workplace / "repository",), port=0, metrics_port=0, device="cpu")
    async with Server(settings) as server:
        await server.wait_loaded()
        answers = await asyncio.to_thread(_classify, server.address, photos)
    assert len(answers) == len(photos)
    for answer in answers:
        assert {score.label for score in answer.classes} == {"blue", "red"}
        assert sum(score.probability for score in answer.classes) == pytest.approx(1, abs=1e-5)


def _train_one_step(data: Path, backbone: str) -> ImageOutcome:
    settings = ImageSettings(
        data=data,
        output=data.parent / "repository",
        name="model",
        runs=data.parent / "runs",
        backbone=backbone,
        mode="scratch",
        weights="none",
        epochs=1,
        batch_size=8,
        workers=0,
        device="cpu",
    )
    return train_image(settings, console=Console(quiet=True))


def _classify(address: str, photos: list[bytes]) -> list[Classification]:
    with Client(address) as client:
        return client.classify_images("model", photos)
