"""Token sequences in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from training.data.order import epoch_generator

Item = tuple[Tensor, int]
# Batches are cut from pools of shuffled items, sorted by length: of 50 batches, or less so that there are ten pools at
# least and small data stay well mixed.
_POOL_BATCHES, _LEAST_POOLS = 50, 10


class TokenDataset(Dataset[Item]):
    """Token ids and class of each text.

    Args:
        ids: of each text, at least one.
        classes: of each text.
    """

    def __init__(self, ids: Sequence[NDArray[np.int64]], classes: Sequence[int]) -> None:
        self.ids = [torch.from_numpy(row) for row in ids]
        self.classes = classes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Item:
        return self.ids[index], self.classes[index]


class LengthBatches(Sampler[list[int]]):
    """Batches of items of similar length, in random order: on texts, half the padding and half the time or less.

    Args:
        lengths: of each item.
        batch_size: items per batch; the last batch of a pass may be smaller.
        seed: of the order; every epoch has another one.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """See `training.data.order.Epochs`."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = epoch_generator(self.seed, self.epoch)
        order = rng.permutation(len(self.lengths))
        pool = self.batch_size * max(1, min(_POOL_BATCHES, len(self) // _LEAST_POOLS))
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[cut : cut + self.batch_size].tolist() for cut in range(0, len(part), self.batch_size)]
        yield from (batches[index] for index in rng.permutation(len(batches)))


def training_batches(data: TokenDataset, batch_size: int, seed: int, *, workers: int = 0) -> DataLoader[Item]:
    """Shuffled batches `(ids int64 [N, T], classes int64 [N])`, collated by `workers` processes or by this one."""
    sampler = LengthBatches([len(row) for row in data.ids], batch_size, seed)
    return DataLoader(
        data, batch_sampler=sampler, collate_fn=collate_texts, num_workers=workers, persistent_workers=workers > 0
    )


def evaluation_batches(data: TokenDataset, batch_size: int) -> DataLoader[Item]:
    """The same batches in the order of the data."""
    return DataLoader(data, batch_size=batch_size, collate_fn=collate_texts)


def collate_texts(items: list[Item]) -> tuple[Tensor, Tensor]:
    """A batch: ids int64 [N, T], padded behind, and classes int64 [N]."""
    ids = nn.utils.rnn.pad_sequence([row for row, _ in items], batch_first=True)  # with 0, the padding id
    return ids, torch.tensor([label for _, label in items])
