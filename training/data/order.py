"""The order of training items, a function of seed and epoch alone.

So a resumed run goes on as it would have gone, and neither the number of worker processes nor anything else that draws
random numbers changes what a network sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch.utils.data import DataLoader, Sampler


def epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    """Random numbers of one epoch (counted from 0) of a run."""
    return np.random.default_rng([seed, epoch])


@runtime_checkable
class Epochs(Protocol):
    """A sampler whose order depends on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next pass belongs to, counted from 0."""


class ShuffledOrder(Sampler[int]):
    """The items 0 .. count - 1 in random order, another one in every epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """See `Epochs`."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        yield from epoch_generator(self.seed, self.epoch).permutation(self.count).tolist()


Draw = tuple[int, int]
"""An item, and the seed of its augmentation."""


class ShuffledDraws(Sampler[Draw]):
    """As `ShuffledOrder`; with each item comes a seed for what is random about it."""

    def __init__(self, count: int, seed: int) -> None:
        self.order = ShuffledOrder(count, seed)

    def __len__(self) -> int:
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """See `Epochs`."""
        self.order.set_epoch(epoch)

    def __iter__(self) -> Iterator[Draw]:
        seeds = np.random.default_rng([self.order.seed, self.order.epoch, 1]).integers(2**62, size=self.order.count)
        yield from zip(self.order, seeds.tolist(), strict=True)


def set_epoch(batches: DataLoader[Any] | None, epoch: int) -> None:
    """Tell a loader's samplers which epoch comes next."""
    for sampler in (getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)):
        if isinstance(sampler, Epochs):
            sampler.set_epoch(epoch)
