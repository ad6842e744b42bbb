"""What every kind of forecaster is, once it is trained and exported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from training.data.series.windows import SeriesParts
from training.errors import DataError
from training.evaluation.forecasts import Errors
from training.fit import FitResult
from training.models.series import Scaler
from training.settings.series import SeriesSettings
from zoo.calendar import PERIODS
from zoo.card import ColumnStatistics, Golden, StateTensor

Statistics = dict[str, ColumnStatistics]
"""Of each column, targets first, over the training part."""
TOLERANCE = 1e-3
"""Of golden forecasts, relative and in standard deviations of the target: far below what a forecast is wrong by."""


@dataclass(frozen=True)
class MadeForecaster:
    """A graph that passed the gate, and how it did."""

    fit: FitResult
    onnx_bytes: bytes
    parity: float
    """Largest relative error between torch and ONNX Runtime."""
    torch_errors: Errors
    """On the test part, of the trained network."""
    test_errors: Errors
    """The same of the graph, through ONNX Runtime."""
    validation_errors: Errors
    """On the validation part, of the graph."""
    golden: Golden
    state: tuple[StateTensor, ...] = ()


def column_statistics(data: SeriesParts) -> Statistics:
    """Of the training part; the scaler in the graph is made from them.

    Raises:
        DataError: a column never changes.
    """
    statistics = {}
    for name, column in zip(data.columns, data.train_values.T.astype(np.float64), strict=True):
        if not column.std() > 0:
            raise DataError(f"column {name!r} is {column[0]:g} in the whole training part; leave it out")
        statistics[name] = ColumnStatistics.of(column)
    return statistics


def make_scaler(settings: SeriesSettings, data: SeriesParts, statistics: Statistics) -> Scaler:
    """The scaler of a forecaster, fitted on the training part."""
    columns = [statistics[name] for name in data.columns]
    if settings.scaling == "standard":
        offsets, scales = [column.mean for column in columns], [column.std for column in columns]
    else:
        offsets, scales = [column.min for column in columns], [column.max - column.min for column in columns]
    periods = {index: PERIODS[name] for index, name in enumerate(data.columns) if name in PERIODS}
    return Scaler(torch.tensor(offsets), torch.tensor(scales), periods)
