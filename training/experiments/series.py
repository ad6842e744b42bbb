"""Experiments with forecasters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.data.series.windows import SeriesParts, Windows, check_length, read_series_parts
from training.data.split import rolling_origins
from training.evaluation.forecasts import Errors, ForecastReport, forecast_errors
from training.experiments.tasks import Validated
from training.export.series import make_torch_run
from training.export.stream import make_step_run, state_tensors
from training.fit import FitResult
from training.pipelines.series.made import Statistics, column_statistics
from training.pipelines.series.streamed import stream_errors, train_streamed
from training.pipelines.series.windowed import EVALUATION_BATCH, train_windowed
from training.runs import TrainingRun
from training.settings.series import SeriesSettings


class SeriesTask:
    """See `training.experiments.tasks.Task`."""

    kind = SeriesSettings

    def read(self, settings: SeriesSettings, run: TrainingRun) -> SeriesParts:
        """Read, mend and split by time."""
        data = read_series_parts(settings)
        run.say(data.summary, f"{data.split}; sha256 {data.sha256[:12]}")
        return data

    def metric(self, settings: SeriesSettings) -> str:  # noqa: ARG002
        """Mean absolute error in standard deviations."""
        return "mae_scaled"

    def sha256(self, data: SeriesParts) -> str:
        """Over the file."""
        return data.sha256

    def clean(self, settings: SeriesSettings, data: SeriesParts, run: TrainingRun) -> SeriesParts:  # noqa: ARG002
        """All of it: a stretch of time comes once."""
        return data

    def folds(self, settings: SeriesSettings, data: SeriesParts, count: int) -> list[SeriesParts]:  # noqa: ARG002
        """By rolling origin: each is validated on the time right after that which it is trained on."""
        past, horizon = data.train.window, data.train.horizon
        known = min(past, len(data.train_values))  # of the training part, at the beginning of the validation part
        values = np.concatenate([data.train_values, data.validation.values[known:]])
        cut = []
        for number, (begin, end) in enumerate(rolling_origins(len(values), count), 1):
            first = max(0, begin - past)
            check_length(f"training part of fold {number}", begin, past, horizon)
            check_length(f"validation part of fold {number} with its past", end - first, past, horizon)
            train, held_out = (
                Windows(rows, past, horizon, data.train.targets) for rows in (values[:begin], values[first:end])
            )
            words = f"fold {number} of {count}, rolling origin: rows {begin} to {end - 1} after those before"
            cut.append(replace(data, train=train, train_values=values[:begin], validation=held_out, split=words))
        return cut

    def validate(self, settings: SeriesSettings, data: SeriesParts, run: TrainingRun) -> Validated:
        """Fit the scaler on the training part, then train."""
        statistics = column_statistics(data)
        result, errors = _errors(settings, data, statistics, run)
        std = [statistics[name].std for name in settings.target]
        report = ForecastReport.of(errors)
        metrics = {"mae_scaled": report.scaled_mae(std), "mse_scaled": report.scaled_mse(std)}
        if len(settings.target) == 1:
            metrics["mae"] = report.mae_of(0)
        by_window = (np.abs(errors) / np.array(std)).mean((1, 2))
        answers = [{"window": window, "mae_scaled": f"{error:.5f}"} for window, error in enumerate(by_window)]
        return Validated(result, metrics, answers)


def _errors(
    settings: SeriesSettings, data: SeriesParts, statistics: Statistics, run: TrainingRun
) -> tuple[FitResult, Errors]:
    """How the training went, and the errors on the validation part."""
    if settings.stateful:
        stream, result = train_streamed(settings, data, statistics, run)
        return result, stream_errors(make_step_run(stream), state_tensors(stream), data.validation)
    network, result = train_windowed(settings, data, statistics, run)
    return result, forecast_errors(make_torch_run(network), data.validation.batches(EVALUATION_BATCH))
