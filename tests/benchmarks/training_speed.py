"""Images a second of a training here, beside a loop as timm's own training script has it.

    python -m tests.benchmarks.training_speed --models timm/resnet18 timm/mobilenetv2_100 --rounds 3

Both sides train the same network from random weights on the same photographs (made here, or those of --data) with the
same batches, optimiser, crops, mirror images and colours, in turns, and everything counts: reading the files, all
epochs, the validation after each and its checkpoint. `loop` is the same with tensors in memory, without augmentation:
what the loop itself costs. timm's side is its loader, transforms, optimiser, scheduler and meters, used as its
`train.py` does, and a checkpoint. Processor time is of all threads and processes; on a machine with other work it says
more than the clock.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from timm.data import ImageDataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter, accuracy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from training.data.images import EvaluationImages, TrainingImages, read_images, split_images
from training.data.images.augmentation import make_augmentation
from training.data.order import ShuffledOrder
from training.fit import fit
from training.models.backbones import Backbone, make_backbone
from training.models.image import ImageClassifier
from training.pipelines.image.loading import evaluation_loader, make_loss, make_metric, training_loader
from training.settings import ImageSettings

CLASSES = 4
Batches = Any
"""Iterable of (images, classes), with a length."""


@dataclass(frozen=True)
class Plan:
    """What both sides do."""

    model: str
    data: Path
    images: int
    """In the training part."""
    epochs: int
    batch: int
    workers: int


Side = Callable[[Plan], None]


def main() -> int:
    """Print a table; exit code 1 where a training here is slower than timm's by more than the rounds differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["timm/resnet18", "timm/mobilenetv2_100"], metavar="timm/NAME")
    parser.add_argument("--images", type=int, default=192, help="to train on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2, help="processes that augment, on both sides")
    parser.add_argument("--rounds", type=int, default=3, help="of both sides, in turns")
    parser.add_argument("--threads", type=int, default=0, help="of torch; default: its own choice")
    parser.add_argument("--data", type=Path, help="a folder train/<class>/*.jpg and val/<class>/*.jpg")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} thread(s), {options.workers} worker(s), {time.strftime('%F')}")
    print("| model | what | here, images/s | timm, images/s | here / timm, median (rounds) | of processor time |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or write_photographs(Path(folder), options.images)
        count = sum(1 for _ in (data / "train").glob("*/*"))
        slower = False
        for model in options.models:
            plan = Plan(model, data, count, options.epochs, options.batch, options.workers)
            for what, sides in (("files", (train_here, train_timm)), ("loop", (loop_here, loop_timm))):
                slower |= compare(plan, what, sides, options.rounds)
    return int(slower)


def compare(plan: Plan, what: str, sides: tuple[Side, Side], rounds: int) -> bool:
    """Time both sides in turns, print a row; whether the side here was slower in every round."""
    _timed(sides[0], plan), _timed(sides[1], plan)  # warms up files and libraries
    pairs = [(_timed(sides[0], plan), _timed(sides[1], plan)) for _ in range(rounds)]
    rates = [plan.images * plan.epochs / statistics.median(pair[side][0] for pair in pairs) for side in (0, 1)]
    by_clock, by_processor = ([timm[unit] / here[unit] for here, timm in pairs] for unit in (0, 1))
    print(f"| {plan.model} | {what} | {rates[0]:.1f} | {rates[1]:.1f} | {_shown(by_clock)} | {_shown(by_processor)} |")
    return max(by_clock) < 1


def _timed(side: Side, plan: Plan) -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    gc.collect()
    start, before = time.perf_counter(), os.times()
    side(plan)
    gc.collect()  # ends worker processes, whose time counts only then
    seconds, after = time.perf_counter() - start, os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


def _shown(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})"


def train_here(plan: Plan) -> None:
    """From files to trained weights, as `python -m training image --mode scratch` does."""
    backbone, settings = _backbone(plan), _settings(plan)
    resize = backbone.preprocessing.resize
    images = read_images(plan.data, resize, console=Console(quiet=True))
    split = split_images(images, validation=0.1, test=0.0, seed=0)
    augmented = TrainingImages(images, split.train, resize, make_augmentation(settings, resize))
    validation = EvaluationImages(images, split.validation, resize)
    _fit(
        ImageClassifier(backbone),
        backbone,
        training_loader(augmented, settings, workers=plan.workers),
        evaluation_loader(validation, settings, workers=plan.workers),
        settings,
    )


def train_timm(plan: Plan) -> None:
    """The same with timm's loader."""
    backbone = _backbone(plan)
    preprocessing = backbone.preprocessing
    size = (3, preprocessing.resize.height_px, preprocessing.resize.width_px)
    loaders = [
        create_loader(
            ImageDataset(str(plan.data / part)),
            size,
            plan.batch,
            is_training=part == "train",
            scale=(0.35, 1.0),
            color_jitter=0.2,
            mean=preprocessing.mean,
            std=preprocessing.std,
            num_workers=plan.workers,
            use_prefetcher=False,  # which is for CUDA
        )
        for part in ("train", "val")
    ]
    _fit_timm(backbone.network, loaders[0], loaders[1], plan)


def loop_here(plan: Plan) -> None:
    """Tensors in memory through the loop here."""
    backbone, data = _backbone(plan), _tensors(plan)
    order = ShuffledOrder(len(data), 0)
    _fit(
        backbone.network,
        backbone,
        DataLoader(data, plan.batch, sampler=order),
        DataLoader(_few(data), plan.batch),
        _settings(plan),
    )


def loop_timm(plan: Plan) -> None:
    """Tensors in memory through timm's loop."""
    data = _tensors(plan)
    train = DataLoader(data, plan.batch, shuffle=True)
    _fit_timm(_backbone(plan).network, train, DataLoader(_few(data), plan.batch), plan)


def _fit(network: nn.Module, backbone: Backbone, train: Batches, validation: Batches, settings: ImageSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fit(
            network.train(),
            train,
            validation,
            settings,
            loss=make_loss(settings),
            metric=make_metric(backbone.classes),
            run_folder=Path(folder),
            console=Console(quiet=True),
        )


def _fit_timm(network: nn.Module, train: Batches, validation: Batches, plan: Plan) -> None:
    """`train_one_epoch` and `validate` of timm's train.py, without what their options would add."""
    loss_function = nn.CrossEntropyLoss()
    optimizer = create_optimizer_v2(network, opt="adamw", lr=1e-3, weight_decay=1e-4)
    steps = plan.epochs * len(train)
    scheduler = CosineLRScheduler(optimizer, t_initial=steps, warmup_t=int(0.05 * steps), t_in_epochs=False)
    updates = 0
    for _ in range(plan.epochs):
        network.train()
        losses = AverageMeter()
        for images, target in train:
            loss = loss_function(network(images), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(images))
            updates += 1
            scheduler.step_update(num_updates=updates, metric=losses.avg)
        _validate_timm(network, validation, loss_function)
        with tempfile.TemporaryDirectory() as folder:
            state = {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, Path(folder) / "last.pth.tar")


def _validate_timm(network: nn.Module, validation: Batches, loss_function: nn.Module) -> None:
    network.eval()
    losses, right = AverageMeter(), AverageMeter()
    with torch.inference_mode():
        for images, target in validation:
            output = network(images)
            losses.update(loss_function(output, target).item(), len(images))
            right.update(accuracy(output, target)[0].item(), len(images))


def _backbone(plan: Plan) -> Backbone:
    torch.manual_seed(0)
    return make_backbone(plan.model, CLASSES, scratch=True)


def _settings(plan: Plan) -> ImageSettings:
    return ImageSettings(
        data=plan.data,
        output=Path(),
        name="speed",
        backbone=plan.model,
        mode="scratch",
        weights="none",
        epochs=plan.epochs,
        patience=plan.epochs,
        batch_size=plan.batch,
        workers=plan.workers,
        device="cpu",
    )


def _tensors(plan: Plan) -> TensorDataset:
    drawn = torch.Generator().manual_seed(0)
    images = torch.rand(plan.images, 3, 224, 224, generator=drawn)
    return TensorDataset(images, torch.arange(plan.images) % CLASSES)


def _few(data: TensorDataset) -> TensorDataset:
    return TensorDataset(*(tensor[: len(data) // 8] for tensor in data.tensors))


def write_photographs(folder: Path, count: int) -> Path:
    """JPEG files of 500x375 pixels, `count` to train on and an eighth of that to validate on."""
    rng = np.random.default_rng(0)
    for part, images in (("train", count), ("val", max(CLASSES, count // 8))):
        for number in range(images):
            place = folder / part / f"class{number % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            coarse.resize((500, 375), Image.Resampling.BICUBIC).save(place / f"{number:04}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    sys.exit(main())
