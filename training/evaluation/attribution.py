"""Where in an image a network sees what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.errors import BackboneError


class ClassActivation(NamedTuple):
    """Answers of a classifier, and where they come from."""

    classes: Tensor
    """The most probable class of each image, int64 [N]."""
    maps: Tensor
    """From 0 to 1, [N, H, W]; 1 is the place that speaks most for the class."""


def class_activation(network: nn.Module, images: Tensor) -> ClassActivation:
    """Grad-CAM (R. Selvaraju et al., https://arxiv.org/abs/1610.02391) at the last feature maps.

    Where the head is a linear layer over their means, this is the class activation map of B. Zhou et al.,
    https://arxiv.org/abs/1512.04150.

    Args:
        network: in evaluation mode; images -> logits [N, K].
        images: as the network takes them; two of their axes are height and width.

    Raises:
        BackboneError: the network has no feature maps.
    """
    maps = feature_maps(network, images)
    if not maps:
        raise BackboneError("the network has no feature maps to look into; take a convolutional one")
    layer = list(maps)[-1]
    seen: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    try:
        with torch.enable_grad():
            logits = network(images)
            classes = logits.argmax(1)
            (slopes,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), seen)
    finally:
        hook.remove()
    weights = slopes.mean((2, 3), keepdim=True)
    heat = (weights * seen[0].detach()).sum(1).clamp(min=0)
    return ClassActivation(classes, heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12))


def feature_maps(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The output [N, C, h, w], h and w over 1, of each layer that gives one, by name, in the order of computation."""
    found: dict[str, Tensor] = {}
    with _recording(network, found), torch.no_grad():
        network(images)
    return found


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps [N, h, w] at another size."""
    return functional.interpolate(maps[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]


@contextmanager
def _recording(network: nn.Module, found: dict[str, Tensor]) -> Iterator[None]:
    def record(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            found.pop(name, None)
            found[name] = output

    leaves = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())]
    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, output, name=name: record(name, output))
        for name, layer in leaves
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
