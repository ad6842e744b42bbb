"""A forecaster that reads a whole window at once: trained, exported, gated."""

from __future__ import annotations

import numpy as np
from torch import nn

from training.data.series.windows import SeriesParts, Windows
from training.evaluation.forecasts import forecast_errors
from training.export.gate import BATCH_SIZES, check_parity
from training.export.series import export_series, make_torch_run
from training.fit import FitResult
from training.models.series import DirectNetwork, EncoderDecoder, Forecaster
from training.pipelines.manifests import series_rows
from training.pipelines.series.made import (
    TOLERANCE,
    MadeForecaster,
    Statistics,
    adopt_forecaster,
    fit_forecaster,
    make_scaler,
    recurrent_layers,
)
from training.runs import TrainingRun
from training.settings.series import SeriesSettings
from zoo.card import FORECAST, SERIES_INPUT, Golden, GoldenSample
from zoo.golden import Run, Tensors
from zoo.runtime import make_run, open_session

EVALUATION_BATCH = 512
_NETWORKS = {"direct": DirectNetwork, "encoder_decoder": EncoderDecoder}
_GOLDEN_SAMPLES = 3
_DAY_SECONDS = 86_400


def make_windowed(
    settings: SeriesSettings, data: SeriesParts, statistics: Statistics, run: TrainingRun
) -> MadeForecaster:
    """Train a forecaster and export it."""
    network, result = train_windowed(settings, data, statistics, run)
    run.end_training()
    run.say("evaluating and exporting")
    onnx_bytes = export_series(network, settings.window, len(data.columns))
    expected, exported = make_torch_run(network), make_run(open_session(onnx_bytes))
    return MadeForecaster(
        fit=result,
        onnx_bytes=onnx_bytes,
        parity=check_parity(expected, exported, [_gate_batch(data.test, size) for size in BATCH_SIZES]),
        torch_errors=forecast_errors(expected, data.test.batches(EVALUATION_BATCH)),
        test_errors=forecast_errors(exported, data.test.batches(EVALUATION_BATCH)),
        validation_errors=forecast_errors(exported, data.validation.batches(EVALUATION_BATCH)),
        golden=_make_golden(expected, data.test, statistics[settings.target[0]].std),
    )


def train_windowed(
    settings: SeriesSettings, data: SeriesParts, statistics: Statistics, run: TrainingRun
) -> tuple[Forecaster, FitResult]:
    """Train on the training part; the validation part chooses the best epoch."""
    network = adopt_forecaster(_build(settings, data, statistics), data, run)
    run.begin(series_rows(data))
    train = data.train.batches(settings.batch_size, seed=settings.seed, workers=settings.workers)
    validation = data.validation.batches(EVALUATION_BATCH)
    return network, fit_forecaster(network, train, validation, settings, statistics, run)


def _build(settings: SeriesSettings, data: SeriesParts, statistics: Statistics) -> Forecaster:
    scaler = make_scaler(settings, data, statistics)
    targets = len(settings.target)
    day = _DAY_SECONDS // data.step_seconds
    lag = day if 1 <= day <= settings.window else 1
    return Forecaster(
        scaler,
        _build_network(settings, scaler.size),
        window=settings.window,
        horizon=settings.horizon,
        targets=targets,
        naive_lag=lag,
        moving_level=settings.moving_level,
        shared=settings.shared,
    )


def _build_network(settings: SeriesSettings, size: int) -> nn.Module | None:
    """What is added to the linear map; `size` is the number of scaled columns."""
    if settings.network == "linear":
        return None
    targets = len(settings.target)
    return _NETWORKS[settings.network](
        size - targets + 1 if settings.shared else size,
        settings.horizon,
        1 if settings.shared else targets,
        layers=recurrent_layers(settings),
        segment=settings.segment_steps,
    )


def _gate_batch(windows: Windows, size: int) -> Tensors:
    rows = np.linspace(0, len(windows) - 1, size).astype(int).tolist()
    return {SERIES_INPUT: windows.__getitems__(rows)[0].numpy()}


def _make_golden(expected: Run, test: Windows, std: float) -> Golden:
    """Samples from the test part with the answers of the torch model."""
    inputs = _gate_batch(test, _GOLDEN_SAMPLES)
    samples = tuple(
        GoldenSample(history=tuple(tuple(row) for row in history.tolist()), expected=tuple(forecast.ravel().tolist()))
        for history, forecast in zip(inputs[SERIES_INPUT], expected(inputs)[FORECAST], strict=True)
    )
    return Golden(samples=samples, atol=TOLERANCE * std, rtol=TOLERANCE)
