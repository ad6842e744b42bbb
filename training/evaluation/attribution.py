"""Where in an image a network sees what it answers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.errors import BackboneError
from training.models.maps import last_maps, maps_at


class ClassActivation(NamedTuple):
    """Answers of a classifier, and where they come from."""

    classes: Tensor
    """The most probable class of each image, int64 [N]."""
    maps: Tensor
    """From 0 to 1, [N, H, W]; 1 is the place that speaks most for the class."""


def class_activation(network: nn.Module, images: Tensor) -> ClassActivation:
    """Grad-CAM (R. Selvaraju et al., https://arxiv.org/abs/1610.02391) at the last feature maps.

    Where the head is a linear layer over their means, this is the class activation map of B. Zhou et al.,
    https://arxiv.org/abs/1512.04150, without what speaks against the class: what the output `class_activation` of a
    published graph gives (`training.models.published`), cut at 0.

    Args:
        network: in evaluation mode; images -> logits [N, K].
        images: as the network takes them; two of their axes are height and width.

    Raises:
        BackboneError: the network has no feature maps.
    """
    place = last_maps(network, images)
    if place is None:
        raise BackboneError("the network has no feature maps to look into; take a convolutional one")
    with torch.enable_grad(), maps_at(network, place) as seen:
        logits = network(images)
        classes = logits.argmax(1)
        (slopes,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), seen)
    weights = slopes.mean((2, 3), keepdim=True)
    heat = (weights * seen[0].detach()).sum(1).clamp(min=0)
    return ClassActivation(classes, heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12))


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps [N, h, w] at another size."""
    return functional.interpolate(maps[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
