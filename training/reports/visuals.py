"""What a convolutional network has learnt, as PNG files: kernels, feature maps, and where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torchvision.utils import make_grid, save_image

from training.evaluation.attribution import class_activation, resized
from training.models.image import ImageClassifier
from training.models.maps import feature_maps
from training.reports.fonts import best_file

_MAPS = 32
_DEPTHS = (0.0, 0.5, 1.0)
"""Of the layers whose maps are drawn: the first, the middle one, the last."""
_SHORTEST_PX, _LABEL_PX = 96, 11


def write_kernels(network: nn.Module, path: Path) -> bool:
    """The filters of the first convolution over RGB, each stretched to its own range; False: there is none."""
    first = next(
        (layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.in_channels == 3), None
    )
    if first is None:
        return False
    grid = make_grid(first.weight.detach(), nrow=8, normalize=True, scale_each=True, padding=1, pad_value=1.0)
    save_image(nn.functional.interpolate(grid[None], scale_factor=8, mode="nearest"), path)
    return True


def write_feature_maps(classifier: ImageClassifier, pixels: Tensor, folder: Path) -> list[Path]:
    """The first maps of three layers for one image, uint8 [1, H, W, 3]; a file per layer, named by depth and layer."""
    found = list(feature_maps(classifier, pixels).items())
    paths = []
    for number, depth in enumerate(_DEPTHS, 1):
        name, maps = found[round(depth * (len(found) - 1))]
        scale = max(1, _SHORTEST_PX // min(maps.shape[2:]))
        shown = maps[0, :_MAPS, None]
        grid = make_grid(shown, nrow=8, normalize=True, scale_each=True, padding=1, pad_value=1.0)
        paths.append(folder / f"features-{number}-{name}.png")
        save_image(nn.functional.interpolate(grid[None], scale_factor=scale, mode="nearest"), paths[-1])
    return paths


def write_activation(classifier: ImageClassifier, pixels: Tensor, labels: Sequence[str], path: Path) -> None:
    """Each image, uint8 [N, H, W, 3], beside the same with the places that speak for the answer in warm colours."""
    classes, maps = class_activation(classifier, pixels)
    heat = resized(maps, *pixels.shape[1:3]).numpy()
    colours = torch.from_numpy(colormaps["jet"](heat)[..., :3].astype(np.float32)) * 255
    overlay = (0.55 * pixels.float() + 0.45 * colours).round().to(torch.uint8)
    pairs = torch.cat([pixels, overlay], 2)
    sheet = Image.fromarray(pairs.flatten(0, 1).numpy())
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(classes.tolist()):
        name, place = labels[label], (4, row * pixels.shape[1] + 2)
        font = ImageFont.truetype(best_file(name), _LABEL_PX)
        draw.text(place, name, fill="white", font=font, stroke_width=2, stroke_fill="black")
    sheet.save(path)
