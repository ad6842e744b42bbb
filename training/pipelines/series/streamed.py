"""A forecaster that keeps state from row to row: trained and measured on streams, exported as one step, gated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from training.data.series.streams import StreamChunks, training_chunks
from training.data.series.windows import SeriesParts, Windows
from training.evaluation.forecasts import Errors
from training.export.gate import BATCH_SIZES, check_parity
from training.export.stream import export_stream, make_step_run, state_tensors
from training.fit import FitResult
from training.models.stream import StreamForecaster
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
from zoo.card import FORECAST, SERIES_INPUT, Golden, GoldenSample, StateTensor
from zoo.golden import Run, Tensors
from zoo.runtime import make_run, open_session

_GOLDEN_ROWS = 48
_VALIDATION_STEPS = 512


def make_streamed(
    settings: SeriesSettings, data: SeriesParts, statistics: Statistics, run: TrainingRun
) -> MadeForecaster:
    """Train a forecaster and export it."""
    network, result = train_streamed(settings, data, statistics, run)
    run.say("evaluating and exporting")
    onnx_bytes, states = export_stream(network, len(data.columns)), state_tensors(network)
    expected, exported = make_step_run(network), make_run(open_session(onnx_bytes, threads=1))
    return MadeForecaster(
        fit=result,
        onnx_bytes=onnx_bytes,
        parity=check_parity(expected, exported, [_gate_batch(data.test, states, size) for size in BATCH_SIZES]),
        torch_errors=stream_errors(expected, states, data.test),
        test_errors=stream_errors(exported, states, data.test),
        validation_errors=stream_errors(exported, states, data.validation),
        golden=_make_golden(network, data.test, statistics[settings.target[0]].std),
        state=states,
    )


def train_streamed(
    settings: SeriesSettings, data: SeriesParts, statistics: Statistics, run: TrainingRun
) -> tuple[StreamForecaster, FitResult]:
    """Train on the training part; the validation part chooses the best epoch."""
    network = adopt_forecaster(_build(settings, data, statistics), data, run)
    run.begin(series_rows(data))
    train = training_chunks(data.train, settings.window, settings.batch_size).batches()
    validation = StreamChunks(data.validation, _VALIDATION_STEPS).batches()
    return network, fit_forecaster(network, train, validation, settings, statistics, run)


def _build(settings: SeriesSettings, data: SeriesParts, statistics: Statistics) -> StreamForecaster:
    return StreamForecaster(
        make_scaler(settings, data, statistics),
        horizon=settings.horizon,
        targets=len(settings.target),
        layers=recurrent_layers(settings),
    )


def _gate_batch(windows: Windows, states: Sequence[StateTensor], size: int) -> Tensors:
    rng = np.random.default_rng(size)
    rows = np.linspace(0, len(windows.values) - 1, size).astype(int)
    state = {part.input: rng.uniform(-1, 1, (size, *part.shape)).astype(np.float32) for part in states}
    return {SERIES_INPUT: windows.values[rows, None], **state}


def stream_errors(run: Run, states: Sequence[StateTensor], windows: Windows) -> Errors:
    """As `forecast_errors`, of one stream over the part; the first window is there to warm the state up."""
    state: Tensors = {part.input: np.zeros((1, *part.shape), part.dtype) for part in states}
    errors = []
    for index, row in enumerate(windows.values[: windows.window - 1 + len(windows)]):
        outputs = run({SERIES_INPUT: row[None, None], **state})
        state = {part.input: outputs[part.output] for part in states}
        if index >= windows.window - 1:
            future = windows.values[index + 1 : index + 1 + outputs[FORECAST].shape[1], : windows.targets]
            errors.append(outputs[FORECAST][0].astype(np.float32) - future)
    return np.stack(errors)


def _make_golden(network: StreamForecaster, test: Windows, std: float) -> Golden:
    """The first rows of the test part, and what the network says after them when it reads them all at once."""
    rows = test.values[:_GOLDEN_ROWS]
    with torch.inference_mode():
        forecast = network.carry(torch.from_numpy(rows[None]), None)[0][0, -1]
    sample = GoldenSample(history=tuple(map(tuple, rows.tolist())), expected=tuple(forecast.ravel().tolist()))
    return Golden(samples=(sample,), atol=TOLERANCE * std, rtol=TOLERANCE)
