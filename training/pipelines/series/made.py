"""What every kind of forecaster is, once it is trained and exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from training.data.series.windows import SeriesParts
from training.errors import DataError
from training.evaluation.forecasts import Errors
from training.evaluation.scaled import ScaledLoss, ScaledMeanAbsoluteError
from training.fit import FitResult, fit
from training.models.adoption import adopt_weights
from training.models.series import RecurrentLayers, Scaler
from training.pipelines.origin import origin_of
from training.runs import TrainingRun
from training.settings.series import SeriesSettings
from zoo.calendar import PERIODS
from zoo.card import ColumnStatistics, Golden, SeriesTask, StateTensor

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
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


def adopt_forecaster(network: AnyNetwork, data: SeriesParts, run: TrainingRun) -> AnyNetwork:
    """The network; where the run goes on from a published model, with the weights and the scaler of that.

    Raises:
        DataError: the columns are others.
        WeightsError: the networks differ.
        TrainingError: see `training.pipelines.origin.find_origin`.
    """
    origin = origin_of(run)
    if origin is None:
        return network
    assert isinstance(origin.card.task, SeriesTask), "a run of series goes on from a forecaster. This is a bug."
    before = [feature.name for feature in origin.card.task.features]
    if before != list(data.columns):
        raise DataError(f"{origin.label} was trained on the columns {', '.join(before)}, not {', '.join(data.columns)}")
    adopt_weights(network, origin.weights())
    return network


def make_scaler(settings: SeriesSettings, data: SeriesParts, statistics: Statistics) -> Scaler:
    """The scaler of a forecaster, fitted on the training part."""
    columns = [statistics[name] for name in data.columns]
    if settings.scaling == "standard":
        offsets, scales = [column.mean for column in columns], [column.std for column in columns]
    else:
        offsets, scales = [column.min for column in columns], [column.max - column.min for column in columns]
    periods = {index: PERIODS[name] for index, name in enumerate(data.columns) if name in PERIODS}
    return Scaler(torch.tensor(offsets), torch.tensor(scales), periods)


def recurrent_layers(settings: SeriesSettings) -> RecurrentLayers:
    """Those of a forecaster."""
    return RecurrentLayers(
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        dropout=settings.dropout,
        recurrent_dropout=settings.recurrent_dropout,
    )


def fit_forecaster(
    network: nn.Module,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    settings: SeriesSettings,
    statistics: Statistics,
    run: TrainingRun,
) -> FitResult:
    """Train a network that forecasts physical units; targets of different units count alike."""
    std_T = torch.tensor([statistics[name].std for name in settings.target])
    return fit(
        network,
        train,
        validation,
        settings,
        loss=ScaledLoss(std_T),
        metric=ScaledMeanAbsoluteError(std_T),
        run_folder=run.folder,
        mode="min",
        resume=run.resumes,
        after_epoch=run.after_epoch,
        console=run.console,
    )
