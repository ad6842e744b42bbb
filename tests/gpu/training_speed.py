"""Images a second in training: this project's loop against a plain one around a timm model, both with AMP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import timm
import torch
from rich.console import Console
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from tests.gpu.bench import Bench
from tests.gpu.models import CLASSES, MAIN
from training.fit import fit
from training.models.backbones import classification_loss, make_backbone
from training.models.image import ImageClassifier
from training.settings import FitSettings

BATCH, SIDE_PX, WARM_UP_BATCHES = 128, 224, 5
PLAIN = "plain timm loop, AMP, channels last"


class TimedBatches(DataLoader[Any]):
    """Batches from memory, in ever the same order; it notes when each is asked for."""

    def __init__(self, batches: int) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (BATCH, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8, generator=generator)
        classes = torch.randint(0, CLASSES, (BATCH,), generator=generator)
        super().__init__(TensorDataset(images, classes), BATCH)
        self.batches = batches
        self.batch = (images.pin_memory(), classes.pin_memory()) if torch.cuda.is_available() else (images, classes)
        self.times: list[float] = []

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.batches):
            self.times.append(perf_counter())
            yield self.batch

    def images_per_second(self) -> float:
        """Without the first batches, in which libraries start."""
        first, last = self.times[WARM_UP_BATCHES], self.times[-1]
        return BATCH * (len(self.times) - 1 - WARM_UP_BATCHES) / (last - first)


def measure_training(bench: Bench) -> None:
    """Both loops, with as many batches."""
    batches = 25 if bench.seconds < 4 else 80
    bench.report.add(PLAIN, _plain(bench, batches), "images/s")
    bench.report.compare("menagerie's loop, AMP, channels last", _ours(bench, batches), "images/s", PLAIN)


def _plain(bench: Bench, batches: int) -> float:
    device = torch.device(bench.device or "cpu")
    network = timm.create_model(MAIN, num_classes=CLASSES).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device.type)
    mean, scale = 255 * 0.45, 1 / (255 * 0.225)
    loader = TimedBatches(batches)
    for images, classes in loader:
        images, classes = images.to(device, non_blocking=True), classes.to(device, non_blocking=True)
        inputs = (images.permute(0, 3, 1, 2).float() - mean) * scale
        with torch.autocast(device.type, torch.float16):
            loss = torch.nn.functional.cross_entropy(network(inputs), classes)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    torch.cuda.synchronize()
    return loader.images_per_second()


def _ours(bench: Bench, batches: int) -> float:
    classifier = ImageClassifier(make_backbone(MAIN, CLASSES, scratch=True))
    classifier = classifier.to(memory_format=torch.channels_last).train()
    loader = TimedBatches(batches)
    settings = FitSettings(epochs=1, batch_size=BATCH, device="cuda", precision="16-mixed", learning_rate=1e-4)
    fit(
        classifier,
        loader,
        TimedBatches(1),
        settings,
        loss=classification_loss,
        metric=MulticlassAccuracy(CLASSES, average="micro"),
        run_folder=Path(bench.folder, "run"),
        console=Console(quiet=True),
    )
    return loader.images_per_second()
