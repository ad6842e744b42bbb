"""Feature maps: what the layers of a convolutional network give, [N, C, h, w]."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Place(NamedTuple):
    """Where in a network feature maps can be had."""

    layer: str
    """Name of the layer."""
    entering: bool
    """They are what it gets, not what it gives."""


def feature_maps(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The output, h and w over 1, of each layer that gives one, by name, in the order of computation."""
    found: dict[str, Tensor] = {}

    def record(place: Place, maps: Tensor) -> None:
        if not place.entering:
            found.pop(place.layer, None)
            found[place.layer] = maps

    _watch_all(network, images, record)
    return found


def last_maps(network: nn.Module, images: Tensor) -> Place | None:
    """Where the last feature maps of all are, before any pooling of them; None: there are none."""
    places: list[Place] = []
    _watch_all(network, images, lambda place, _maps: places.append(place))
    if all(place.entering for place in places):
        return None  # the image itself, on its way to layers that make no maps of it
    return places[-1]


@contextmanager
def maps_at(network: nn.Module, place: Place) -> Iterator[list[Tensor]]:
    """Within, what passes the place is collected."""
    seen: list[Tensor] = []
    layer = network.get_submodule(place.layer)
    if place.entering:
        hook = layer.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    else:
        hook = layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        hook.remove()


def _watch_all(network: nn.Module, images: Tensor, record: Callable[[Place, Tensor], None]) -> None:
    def watch(name: str, inputs: tuple[object, ...], output: object) -> None:
        for entering, value in ((True, inputs[0] if inputs else None), (False, output)):
            if isinstance(value, Tensor) and value.ndim == 4 and min(value.shape[2:]) > 1:
                record(Place(name, entering), value)

    leaves = [(name, layer) for name, layer in network.named_modules() if not list(layer.children())]
    hooks = [
        layer.register_forward_hook(lambda _layer, inputs, output, name=name: watch(name, inputs, output))
        for name, layer in leaves
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
