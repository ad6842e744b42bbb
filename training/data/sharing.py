"""The batches of several processes that train together: each takes its part of every batch.

So `batch_size` means the same for any number of processes, and the mean of their gradients is that of one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler

from training.data.order import set_epoch
from training.errors import SettingsError

_LEAST = 2  # items of a process; batch norm cannot train on one


class SharedBatches(Sampler[list[Any]]):
    """Every `count`-th item of each batch, from `rank` on; a last batch with less than two for each is left out.

    Args:
        loader: of the whole batches.
        rank: of this process.
        count: of processes.

    Raises:
        SettingsError: all batches are too small.
    """

    def __init__(self, loader: DataLoader[Any], rank: int, count: int) -> None:
        self.loader = loader
        self.rank = rank
        self.count = count
        sizes = [len(batch) for batch in self._whole()]
        self.batches = sum(size >= _LEAST * count for size in sizes)
        if not self.batches:
            raise SettingsError(
                f"batches of {max(sizes, default=0)} items are too small for {count} processes; raise batch_size to "
                f"{_LEAST * count} or more, or start fewer processes"
            )

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """See `training.data.order.Epochs`."""
        set_epoch(self.loader, epoch)

    def __iter__(self) -> Iterator[list[Any]]:
        for batch in self._whole():
            if len(batch) >= _LEAST * self.count:
                yield batch[self.rank :: self.count]

    def _whole(self) -> Iterator[list[Any]]:
        assert self.loader.batch_sampler is not None, "batches that are items cannot be shared. This is a bug."
        yield from self.loader.batch_sampler


def share_training(loader: DataLoader[Any], rank: int, count: int) -> DataLoader[Any]:
    """The part of training batches that a process takes.

    Raises:
        SettingsError: the batches are too small for so many processes.
    """
    return DataLoader(
        loader.dataset,
        batch_sampler=SharedBatches(loader, rank, count),
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        persistent_workers=loader.persistent_workers,
    )


def share_evaluation(loader: DataLoader[Any], rank: int, count: int) -> DataLoader[Any]:
    """The part of the evaluation data that a process measures: each item is measured once.

    Raises:
        SettingsError: there are more processes than items.
    """
    items = len(loader.dataset)  # type: ignore[arg-type]  # all of ours have a length
    if items < count:
        raise SettingsError(f"the validation part has {items} item(s), less than there are processes; start fewer")
    return DataLoader(
        loader.dataset,
        loader.batch_size,
        sampler=range(rank, items, count),
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        persistent_workers=loader.persistent_workers,
    )
