"""From a table of readings to a published forecaster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError

from training.data.series.windows import SeriesParts, Windows, read_series_parts
from training.errors import DataError
from training.evaluation.forecasts import ForecastReport, forecast_report, naive_forecasters
from training.export.gate import BATCH_SIZES, check_metric, check_parity, publish_checked
from training.export.provenance import describe_run
from training.export.series import export_series, make_torch_run
from training.fit import FitResult, fit
from training.models.series import Forecaster
from training.pipelines.manifests import series_rows
from training.runs import TrainingRun
from training.settings.series import SeriesSettings
from zoo.card import FORECAST, SERIES_INPUT, Card, ColumnStatistics, Golden, GoldenSample, Quantity, SeriesTask
from zoo.golden import Run, Tensors
from zoo.repository import ModelVersion
from zoo.runtime import make_run, open_session

_EVALUATION_BATCH = 512
_GOLDEN_SAMPLES = 3
_TOLERANCE = 1e-3
"""Of golden forecasts, relative and in standard deviations of the target: far below what a forecast is wrong by."""


@dataclass(frozen=True)
class SeriesOutcome:
    """What a run gave."""

    published: ModelVersion
    card: Card
    fit: FitResult
    test: ForecastReport
    """Of the published graph, through ONNX Runtime."""
    baselines: dict[str, ForecastReport]
    """Of the naive rules on the same windows."""
    parity: float
    """Largest relative error between torch and ONNX Runtime."""
    summary: str
    run_folder: Path


def train_series(
    settings: SeriesSettings,
    *,
    recipe: str = "python -m training series",
    data_name: str = "",
    console: Console | None = None,
) -> SeriesOutcome:
    """Train, evaluate, export, gate and publish.

    Args:
        settings: of the run.
        recipe: what the card names as its maker.
        data_name: what the card calls the data; default: the name of their file.
        console: for progress; default: standard error.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a model, the table cannot be read, or the graph fails its golden samples.
    """
    run = TrainingRun(settings, console)
    data = read_series_parts(settings)
    run.say(data.summary, f"{data.split}; sha256 {data.sha256[:12]}")
    if data.findings:
        run.console.print(findings_table(data.findings))
    statistics = _column_statistics(data)
    naive = naive_forecasters(
        window=settings.window,
        horizon=settings.horizon,
        targets=len(settings.target),
        step_seconds=data.step_seconds,
        season=settings.season,
    )
    network = _build(settings, data, statistics)
    run.begin(series_rows(data))
    result = _fit(network, data, settings, run)
    run.say("evaluating and exporting")
    onnx_bytes = export_series(network, settings.window, len(data.columns))
    expected, exported = make_torch_run(network), make_run(open_session(onnx_bytes))
    parity = check_parity(expected, exported, [_gate_batch(data.test, size) for size in BATCH_SIZES])
    test = _report(exported, data.test)
    _check_errors(_report(expected, data.test), test, settings.target, statistics)
    baselines = {name: _report(rule, data.test) for name, rule in naive.items()}
    card = Card(
        name=settings.name,
        description=settings.description or _describe(settings),
        task=_task(settings, data),
        licence=settings.licence,
        provenance=describe_run(
            settings,
            recipe=recipe,
            data=data_name or settings.data.name,
            data_sha256=data.sha256,
            split=data.split,
        ),
        test_metrics=_metrics(settings.target, test, baselines),
        reference=statistics,
        golden=_make_golden(expected, data.test, statistics[settings.target[0]].std),
    )
    published = publish_checked(onnx_bytes, card, settings.output, settings.name, settings.version)
    return SeriesOutcome(published, card, result, test, baselines, parity, data.summary, run.folder)


def findings_table(findings: Sequence[tuple[str, str]]) -> Table:
    """What was found in the data, and what was done about it."""
    table = Table("found in the data", "done", box=None, pad_edge=False, header_style="dim")
    for found, done in findings:
        table.add_row(escape(found), escape(done))
    return table


class _ScaledMeanAbsoluteError(MeanAbsoluteError):
    """In standard deviations, so that targets of different units count alike."""

    def __init__(self, std_T: Tensor) -> None:
        super().__init__()
        self.register_buffer("std_T", std_T)
        self.std_T: Tensor

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update((preds / self.std_T).reshape(-1), (target / self.std_T).reshape(-1))


class _ScaledLoss(nn.Module):
    """Mean absolute error in standard deviations: what users see, and steadier than squares."""

    def __init__(self, std_T: Tensor) -> None:
        super().__init__()
        self.register_buffer("std_T", std_T)
        self.std_T: Tensor

    def forward(self, forecast_NHT: Tensor, future_NHT: Tensor) -> Tensor:
        return ((forecast_NHT - future_NHT).abs() / self.std_T).mean()


def _describe(settings: SeriesSettings) -> str:
    return (
        f"{', '.join(settings.target)} for {settings.horizon} steps from the last {settings.window}, "
        f"{settings.cell.upper()}"
    )


def _column_statistics(data: SeriesParts) -> dict[str, ColumnStatistics]:
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


def _build(settings: SeriesSettings, data: SeriesParts, statistics: dict[str, ColumnStatistics]) -> Forecaster:
    day = 86_400 // data.step_seconds
    return Forecaster(
        torch.tensor([statistics[name].mean for name in data.columns]),
        torch.tensor([statistics[name].std for name in data.columns]),
        window=settings.window,
        horizon=settings.horizon,
        targets=len(settings.target),
        naive_lag=day if 1 <= day <= settings.window else 1,
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        segment=settings.segment_steps,
        dropout=settings.dropout,
    )


def _fit(network: Forecaster, data: SeriesParts, settings: SeriesSettings, run: TrainingRun) -> FitResult:
    std_T = network.std_F[: len(settings.target)].clone()
    return fit(
        network,
        data.train.batches(settings.batch_size, seed=settings.seed, workers=settings.workers),
        data.validation.batches(_EVALUATION_BATCH),
        settings,
        loss=_ScaledLoss(std_T),
        metric=_ScaledMeanAbsoluteError(std_T),
        run_folder=run.folder,
        mode="min",
        resume=run.resumes,
        console=run.console,
    )


def _gate_batch(windows: Windows, size: int) -> Tensors:
    rows = np.linspace(0, len(windows) - 1, size).astype(int).tolist()
    return {SERIES_INPUT: windows.__getitems__(rows)[0].numpy()}


def _report(run: Run, windows: Windows) -> ForecastReport:
    return forecast_report(run, windows.batches(_EVALUATION_BATCH))


def _check_errors(
    expected: ForecastReport, got: ForecastReport, targets: list[str], statistics: dict[str, ColumnStatistics]
) -> None:
    for index, name in enumerate(targets):
        std = statistics[name].std
        check_metric(f"MAE of {name} / its standard deviation", expected.mae_of(index) / std, got.mae_of(index) / std)


def _task(settings: SeriesSettings, data: SeriesParts) -> SeriesTask:
    quantities = tuple(Quantity(name=name, unit=settings.units.get(name, "")) for name in data.columns)
    return SeriesTask(
        features=quantities,
        targets=quantities[: len(settings.target)],
        window_steps=settings.window,
        horizon_steps=settings.horizon,
        step_seconds=data.step_seconds,
        time_column=settings.time_column,
    )


def _metrics(targets: list[str], test: ForecastReport, baselines: dict[str, ForecastReport]) -> dict[str, float]:
    """For the card; with several targets, each name ends in its target."""
    metrics: dict[str, float] = {"test_windows": test.windows}
    for index, target in enumerate(targets):
        end = f"_{target}" if len(targets) > 1 else ""
        metrics[f"mae{end}"] = round(test.mae_of(index), 5)
        metrics[f"rmse{end}"] = round(test.rmse_of(index), 5)
        metrics[f"mae_first_step{end}"] = round(float(test.mae[0, index]), 5)
        metrics[f"mae_last_step{end}"] = round(float(test.mae[-1, index]), 5)
        metrics |= {f"{name}_mae{end}": round(report.mae_of(index), 5) for name, report in baselines.items()}
    return metrics


def _make_golden(expected: Run, test: Windows, std: float) -> Golden:
    """Samples from the test part with the answers of the torch model."""
    inputs = _gate_batch(test, _GOLDEN_SAMPLES)
    samples = tuple(
        GoldenSample(history=tuple(tuple(row) for row in history.tolist()), expected=tuple(forecast.ravel().tolist()))
        for history, forecast in zip(inputs[SERIES_INPUT], expected(inputs)[FORECAST], strict=True)
    )
    return Golden(samples=samples, atol=_TOLERANCE * std, rtol=_TOLERANCE)
