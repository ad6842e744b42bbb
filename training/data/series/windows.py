"""Tables of readings in windows: a past of some steps, and the future to forecast from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data.order import ShuffledOrder
from training.data.series.tables import read_readings
from training.errors import DataError
from training.hashing import files_hash
from training.settings.series import SeriesSettings

Batch = tuple[Tensor, Tensor]


class Windows(Dataset[Batch]):
    """All windows of a stretch of readings, cut on demand; neighbours overlap.

    Args:
        values_TF: the readings, targets in the first columns.
        window: steps of past.
        horizon: steps of future.
        targets: number of target columns.
    """

    def __init__(self, values_TF: NDArray[np.float32], window: int, horizon: int, targets: int) -> None:
        self.values = values_TF
        self.window = window
        self.horizon = horizon
        self.targets = targets
        self._windows_WFT = torch.from_numpy(values_TF).unfold(0, window + horizon, 1)  # a view

    def __len__(self) -> int:
        return len(self._windows_WFT)

    def __getitem__(self, index: int) -> Batch:
        history, future = self.__getitems__([index])
        return history[0], future[0]

    def __getitems__(self, indexes: list[int]) -> Batch:
        """A batch at once: history [N, window, F] and future [N, horizon, targets], physical units."""
        windows_NTF = self._windows_WFT[indexes].transpose(1, 2)
        return windows_NTF[:, : self.window].contiguous(), windows_NTF[:, self.window :, : self.targets].contiguous()

    def batches(self, batch_size: int, *, seed: int | None = None, workers: int = 0) -> DataLoader[Batch]:
        """The windows in order of time, or shuffled by a seed; cut by `workers` processes or by this one."""
        return DataLoader(
            self,
            batch_size,
            sampler=None if seed is None else ShuffledOrder(len(self), seed),
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
        )


@dataclass(frozen=True)
class SeriesParts:
    """The data of a run, and what its card says about them."""

    columns: tuple[str, ...]
    """Names of the columns; targets first."""
    train_values: NDArray[np.float32]
    """The readings of the training part, [T, F]."""
    train: Windows
    validation: Windows
    test: Windows
    step_seconds: int
    split: str
    sha256: str
    summary: str
    """One line for people."""
    findings: tuple[tuple[str, str], ...]
    """What was found in the file, and what was done about it."""


def read_series_parts(settings: SeriesSettings) -> SeriesParts:
    """Read the table of a run and split it by time.

    The future of a window lies within its part; its past may reach into the part before.

    Raises:
        InputError: the table cannot be read, or a column is missing.
        DataError: a part is too short for one window, or the time step is not to be found.
    """
    readings = read_readings(settings)
    values, split, past = readings.values, readings.split, settings.window
    parts: dict[str, Windows] = {}
    for name, rows in split.parts().items():
        first = rows[0] if name == "train" else max(0, rows[0] - past)
        words = f"{name} part{' with its past' if name != 'train' else ''}"
        check_length(words, rows[-1] + 1 - first, past, settings.horizon)
        parts[name] = Windows(values[first : rows[-1] + 1], past, settings.horizon, len(settings.target))
    return SeriesParts(
        columns=readings.columns,
        train_values=values[: len(split.train)],
        **parts,
        step_seconds=readings.step_seconds,
        split=f"{split.description} rows{_test_begins(readings.times, split.test[0])}",
        sha256=files_hash([settings.data]),
        summary=f"{settings.data.name}: {readings.rows} rows; one step is {readings.step_seconds} s",
        findings=readings.findings,
    )


def check_length(what: str, rows: int, window: int, horizon: int) -> None:
    """Check that some rows hold a window and its future.

    Raises:
        DataError: they do not.
    """
    if rows < window + horizon:
        raise DataError(
            f"the {what} has {rows} rows; window {window} and horizon {horizon} need {window + horizon}; shorten them "
            "or bring more data"
        )


def _test_begins(times: list[datetime] | None, row: int) -> str:
    return "" if times is None else f", test from {times[row]:%Y-%m-%d %H:%M}"


def _as_it_is(batch: Any) -> Any:
    """`__getitems__` gives a batch already; DataLoader's types know only lists of items."""
    return batch
