"""The run: read, train, measure beside the naive rules, calibrate, publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.data.series.windows import SeriesParts, Windows, read_series_parts
from training.errors import SettingsError
from training.evaluation.boosting import boosted_forecaster
from training.evaluation.forecasts import (
    Errors,
    ForecastReport,
    forecast_report,
    naive_forecasters,
    naive_lags,
    shortened,
)
from training.evaluation.intervals import conformal_half_widths, covered_share
from training.evaluation.linear import linear_forecaster
from training.export.gate import check_metric, publish_checked
from training.export.provenance import describe_run
from training.fit import FitResult
from training.pipelines.origin import find_origin
from training.pipelines.series.made import MadeForecaster, Statistics, column_statistics
from training.pipelines.series.streamed import make_streamed
from training.pipelines.series.windowed import EVALUATION_BATCH, make_windowed
from training.processes import process_count
from training.runs import TrainingRun, run_name
from training.settings.series import SeriesSettings
from zoo.card import Card, PredictionInterval, Quantity, SeriesTask
from zoo.repository import ModelVersion


@dataclass(frozen=True)
class SeriesOutcome:
    """What a run gave."""

    published: ModelVersion
    card: Card
    fit: FitResult
    test: ForecastReport
    """Of the published graph, through ONNX Runtime."""
    baselines: dict[str, ForecastReport]
    """Of the naive rules and of a linear forecast, on the same windows."""
    covered: tuple[float, ...]
    """Share of the test values inside the prediction intervals, by target; empty without intervals."""
    parity: float
    """Largest relative error between torch and ONNX Runtime."""
    windows: Windows
    """The test part."""
    errors: Errors
    """Of the published graph on it."""
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
    if settings.stateful and process_count() > 1:
        raise SettingsError("stateful reads its streams in order, in one process; start it without torchrun")
    run = TrainingRun.to_publish(settings, console)
    data = read_series_parts(settings)
    run.say(data.summary, f"{data.split}; sha256 {data.sha256[:12]}")
    if data.findings:
        run.console.print(_findings_table(data.findings))
    statistics = column_statistics(data)
    make = make_streamed if settings.stateful else make_windowed
    made = make(settings, data, statistics, run)
    test = ForecastReport.of(made.test_errors)
    _check_errors(ForecastReport.of(made.torch_errors), test, settings.target, statistics)
    baselines = _baselines(settings, data)
    half_widths = _calibrate(settings, made, run)
    covered = () if half_widths is None else tuple(covered_share(made.test_errors, half_widths).tolist())
    card = Card(
        name=settings.name,
        description=settings.description or _describe(settings),
        task=_task(settings, data, half_widths),
        licence=settings.licence,
        provenance=describe_run(
            settings,
            recipe=recipe,
            data=data_name or settings.data.name,
            data_sha256=data.sha256,
            split=data.split,
            run=run_name(run.folder),
            test_uses=run.look_at_test(data.sha256, data.split),
            weights_source=find_origin(settings.from_model, settings.runs).source if settings.from_model else "",
        ),
        test_metrics=_metrics(settings.target, test, baselines, covered, statistics),
        reference=statistics,
        golden=made.golden,
        state=made.state,
    )
    published = publish_checked(made.onnx_bytes, card, settings.output, settings.name, settings.version)
    return SeriesOutcome(
        published=published,
        card=card,
        fit=made.fit,
        test=test,
        baselines=baselines,
        covered=covered,
        parity=made.parity,
        windows=data.test,
        errors=made.test_errors,
        summary=data.summary,
        run_folder=run.folder,
    )


def _findings_table(findings: Sequence[tuple[str, str]]) -> Table:
    """What was found in the data, and what was done about it."""
    table = Table("found in the data", "done", box=None, pad_edge=False, header_style="dim")
    for found, done in findings:
        table.add_row(escape(found), escape(done))
    return table


def _describe(settings: SeriesSettings) -> str:
    past = "row by row" if settings.stateful else f"from the last {settings.window}"
    cell = settings.cell.upper()
    network = {"direct": cell, "encoder_decoder": f"{cell} encoder and decoder", "linear": "linear"}[settings.network]
    return f"{', '.join(settings.target)} for {settings.horizon} steps {past}, {network}"


def _check_errors(expected: ForecastReport, got: ForecastReport, targets: list[str], statistics: Statistics) -> None:
    for index, name in enumerate(targets):
        std = statistics[name].std
        check_metric(f"MAE of {name} / its standard deviation", expected.mae_of(index) / std, got.mae_of(index) / std)


def _baselines(settings: SeriesSettings, data: SeriesParts) -> dict[str, ForecastReport]:
    lags = naive_lags(window=settings.window, step_seconds=data.step_seconds, season=settings.season)
    rules = naive_forecasters(lags, horizon=settings.horizon, targets=len(settings.target))
    rules["linear"] = linear_forecaster(data.train, data.validation)
    if settings.baselines:
        rules["gradient_boosting"] = boosted_forecaster(data.train, data.validation, list(lags.values()))
    return {name: forecast_report(rule, data.test.batches(EVALUATION_BATCH)) for name, rule in rules.items()}


def _calibrate(settings: SeriesSettings, made: MadeForecaster, run: TrainingRun) -> NDArray[np.float64] | None:
    """Half widths of the prediction intervals, [horizon, targets]; None: there are none."""
    if not settings.coverage:
        return None
    half_widths = conformal_half_widths(made.validation_errors, settings.coverage)
    if half_widths is None:
        windows = len(made.validation_errors)
        run.say(f"no prediction intervals: {windows} validation windows are too few to cover {settings.coverage:.0%}")
    return half_widths


def _task(settings: SeriesSettings, data: SeriesParts, half_widths: NDArray[np.float64] | None) -> SeriesTask:
    quantities = tuple(Quantity(name=name, unit=settings.units.get(name, "")) for name in data.columns)
    rows = () if half_widths is None else tuple(tuple(float(f"{value:.6g}") for value in row) for row in half_widths)
    return SeriesTask(
        features=quantities,
        targets=quantities[: len(settings.target)],
        window_steps=1 if settings.stateful else settings.window,
        horizon_steps=settings.horizon,
        step_seconds=data.step_seconds,
        time_column=settings.time_column,
        interval=PredictionInterval(coverage=settings.coverage, half_widths=rows) if rows else None,
    )


def _metrics(
    targets: list[str],
    test: ForecastReport,
    baselines: dict[str, ForecastReport],
    covered: Sequence[float],
    statistics: Statistics,
) -> dict[str, float]:
    """For the card; with several targets, each name ends in its target, and the mean of all is in units of their
    standard deviations."""
    metrics: dict[str, float] = {"test_windows": test.windows}
    for index, target in enumerate(targets):
        end = f"_{target}" if len(targets) > 1 else ""
        metrics[f"mae{end}"] = shortened(test.mae_of(index))
        metrics[f"rmse{end}"] = shortened(test.rmse_of(index))
        metrics[f"mae_first_step{end}"] = shortened(test.mae[0, index])
        metrics[f"mae_last_step{end}"] = shortened(test.mae[-1, index])
        if covered:
            metrics[f"interval_coverage{end}"] = round(covered[index], 5)
        metrics |= {f"{name}_mae{end}": shortened(report.mae_of(index)) for name, report in baselines.items()}
    std = [statistics[name].std for name in targets]
    for name, report in ({"": test} | baselines).items():
        start = f"{name}_" if name else ""
        metrics[f"{start}mae_scaled"] = shortened(report.scaled_mae(std))
        metrics[f"{start}mse_scaled"] = shortened(report.scaled_mse(std))
    return metrics
