"""Augmentation of training images, from torchvision's transforms: of single images, and of whole batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.utils import make_grid, save_image

from training.data.images.datasets import TrainingImages
from training.settings import ImageSettings
from zoo.card import Resize

_PREVIEW_ROWS, _PREVIEW_COLUMNS = 4, 8
_GREY = 124  # about the mean of photographs, for what rotation and shift uncover


def make_augmentation(settings: ImageSettings, resize: Resize) -> Callable[[Tensor], Tensor]:
    """The transform of a scaled training image, uint8 [3, h, w] -> uint8 [3, height, width] of the resize policy.

    `augment none` only crops at random; the policies RandAugment and TrivialAugment take the place of rotation, shift
    and colour.
    """
    size = (resize.height_px, resize.width_px)
    if settings.augment == "none":
        return nn.Sequential(v2.Resize(size, antialias=True))
    steps: list[nn.Module] = [v2.RandomResizedCrop(size, scale=(settings.smallest_crop, 1.0), antialias=True)]
    if settings.flip:
        steps.append(v2.RandomHorizontalFlip(settings.flip))
    steps += _policy(settings)
    if settings.erasing:
        steps.append(v2.RandomErasing(settings.erasing, value=_GREY))
    return nn.Sequential(*steps)


def _policy(settings: ImageSettings) -> list[nn.Module]:
    if settings.augment == "randaugment":
        return [v2.RandAugment(fill=_GREY)]
    if settings.augment == "trivialaugment":
        return [v2.TrivialAugmentWide(fill=_GREY)]
    steps: list[nn.Module] = []
    if settings.rotate or settings.shift:
        steps.append(
            v2.RandomAffine(settings.rotate, (settings.shift, settings.shift) if settings.shift else None, fill=_GREY)
        )
    if settings.brightness or settings.colour or settings.hue:
        jitter = {"brightness": settings.brightness, "contrast": settings.brightness, "saturation": settings.colour}
        steps.append(v2.ColorJitter(**jitter, hue=settings.hue))
    return steps


class Mixing:
    """Mixup and cutmix of a batch: uint8 [N, H, W, 3] and classes [N] -> uint8 [N, H, W, 3] and shares [N, K].

    Where both are wanted, each batch gets one of them by chance.
    """

    def __init__(self, settings: ImageSettings, classes: int) -> None:
        kinds: list[nn.Module] = []
        if settings.mixup:
            kinds.append(v2.MixUp(alpha=settings.mixup, num_classes=classes))
        if settings.cutmix:
            kinds.append(v2.CutMix(alpha=settings.cutmix, num_classes=classes))
        self.transform = v2.RandomChoice(kinds)

    @staticmethod
    def wanted(settings: ImageSettings) -> bool:
        """Whether there is anything to mix."""
        return bool(settings.mixup or settings.cutmix)

    def __call__(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        mixed, shares = self.transform(images.permute(0, 3, 1, 2).float(), classes)
        return mixed.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous(), shares


def write_preview(images: TrainingImages, mixing: Mixing | None, path: Path) -> None:
    """A PNG of a few training images, one per row: as they are, then as the network sees them."""
    count = min(_PREVIEW_ROWS, len(images))
    items = [index * (len(images) // count) for index in range(count)]
    columns = [torch.stack([images.plain(item) for item in items])]
    with torch.random.fork_rng(devices=[]):
        for seed in range(1, _PREVIEW_COLUMNS):
            torch.default_generator.manual_seed(seed)
            drawn = [images[item, seed] for item in items]
            batch, classes = torch.stack([image for image, _ in drawn]), torch.tensor([label for _, label in drawn])
            columns.append(mixing(batch, classes)[0] if mixing else batch)
    grid = torch.stack(columns, 1).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    save_image(make_grid(grid, nrow=_PREVIEW_COLUMNS), path)
