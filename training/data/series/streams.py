"""Readings as streams: stretches that are read side by side, some rows at a time, in order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data.series.windows import Windows

Chunk = tuple[tuple[Tensor, Tensor], Tensor]
_LEAST_CHUNKS = 16
"""Of a stream in training, so that an epoch has that many steps."""


class StreamChunks(Dataset[Chunk]):
    """Chunks of one part; each goes on where the one before ended.

    An item is the rows [lanes, steps, F], whether they are the first ones, and the future after each row
    [lanes, steps, horizon, targets].

    Args:
        windows: of the part; the stream begins with the row before the first future.
        steps: rows of a chunk; the last one may be shorter.
        lanes: stretches of equal length that are read side by side; what is left over is not read.
    """

    def __init__(self, windows: Windows, steps: int, lanes: int = 1) -> None:
        rows = torch.from_numpy(windows.values[windows.window - 1 :])
        horizon = len(rows) - len(windows)
        length = len(windows) // lanes
        self.length, self.steps = length, steps
        self._rows_LTF = rows[: lanes * length].reshape(lanes, length, -1)
        futures_WHT = rows[1:, : windows.targets].unfold(0, horizon, 1).transpose(1, 2)
        self._futures_LTHT = futures_WHT[: lanes * length].reshape(lanes, length, horizon, windows.targets)

    def __len__(self) -> int:
        return -(-self.length // self.steps)

    def __getitem__(self, index: int) -> Chunk:
        steps = slice(index * self.steps, (index + 1) * self.steps)
        return (self._rows_LTF[:, steps], torch.tensor(index == 0)), self._futures_LTHT[:, steps].contiguous()

    def batches(self) -> DataLoader[Chunk]:
        """The chunks in order."""
        return DataLoader(self, batch_size=None)


def training_chunks(windows: Windows, steps: int, most_lanes: int) -> StreamChunks:
    """Chunks for training, with as many lanes as leave enough of them."""
    lanes = max(1, min(most_lanes, len(windows) // (_LEAST_CHUNKS * steps)))
    return StreamChunks(windows, steps, lanes)
