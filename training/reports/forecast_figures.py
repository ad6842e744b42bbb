"""The drawings of a forecaster's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_COLUMNS = 2
_TITLE_INCHES = 0.25
_plain = rc_context({"text.parse_math": False})
"""Within, a name of a column is no formula, whatever signs it has."""


@dataclass(frozen=True)
class ForecastExample:
    """A forecast of one target and what came, in physical units."""

    title: str
    past: NDArray[np.float32]
    future: NDArray[np.float32]
    forecast: NDArray[np.float32]
    half_widths: NDArray[np.float64] | None = None
    """Of the prediction interval at each step."""


@_plain
def forecast_examples(examples: Sequence[ForecastExample]) -> Figure:
    """Each forecast behind its past; step 1 is the first one of the future."""
    figure, panels = _panels(len(examples), height=2.4)
    for axes, example in zip(panels, examples, strict=True):
        steps = np.arange(1, len(example.future) + 1)
        axes.plot(np.arange(1 - len(example.past), 1), example.past, color="grey", label="past")
        axes.plot(steps, example.future, color="black", label="actual")
        _draw_forecast(axes, steps, example.forecast, example.half_widths)
        axes.axvline(0.5, color="grey", linestyle=":")
        axes.set_title(example.title, fontsize=9)
        axes.set_xlabel("step")
    _add_legend(figure, panels[0])
    return figure


@_plain
def stretch_of_forecasts(examples: Sequence[ForecastExample]) -> Figure:
    """Forecasts of one step, each from the time before, one behind the other; without a past."""
    figure, panels = _panels(len(examples), height=2.4)
    for axes, example in zip(panels, examples, strict=True):
        steps = np.arange(len(example.future))
        axes.plot(steps, example.future, color="black", label="actual")
        _draw_forecast(axes, steps, example.forecast, example.half_widths)
        axes.set_title(example.title, fontsize=9)
        axes.set_xlabel("window of the test part")
    _add_legend(figure, panels[0])
    return figure


@_plain
def error_by_step(errors: Mapping[str, NDArray[np.float64]], targets: Sequence[str]) -> Figure:
    """Mean absolute error [horizon, targets] over the horizon: this model's and those of the baselines, by name."""
    figure, panels = _panels(len(targets))
    for index, (axes, target) in enumerate(zip(panels, targets, strict=True)):
        for position, (name, mae) in enumerate(errors.items()):
            steps = np.arange(1, len(mae) + 1)
            axes.plot(steps, mae[:, index], label=name, linewidth=1 if position else 2.2)
        axes.set_title(target, fontsize=9)
        axes.set(xlabel="step", ylabel="MAE", ylim=(0, None))
    _add_legend(figure, panels[0])
    return figure


@_plain
def coverage_by_step(covered: NDArray[np.float64], promised: float, targets: Sequence[str]) -> Figure:
    """Share of the test values inside the prediction intervals, [horizon, targets], beside what was promised."""
    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    steps = np.arange(1, len(covered) + 1)
    for index, target in enumerate(targets):
        axes.plot(steps, covered[:, index], label=target)
    axes.axhline(promised, color="grey", linestyle=":", label="promised")
    axes.set(xlabel="step", ylabel="share covered", ylim=(min(0.5, float(covered.min())) - 0.05, 1.02))
    axes.legend(fontsize=8)
    return figure


def _draw_forecast(
    axes: Axes, steps: NDArray[np.int64], forecast: NDArray[np.float32], half_widths: NDArray[np.float64] | None
) -> None:
    axes.plot(steps, forecast, color="tab:blue", label="forecast")
    if half_widths is not None:
        axes.fill_between(steps, forecast - half_widths, forecast + half_widths, color="tab:blue", alpha=0.2)


def _add_legend(figure: Figure, panel: Axes) -> None:
    """One for all panels, above them, where it hides nothing."""
    handles, labels = panel.get_legend_handles_labels()
    top = max(axes.get_position().y1 for axes in figure.axes)
    place = (0.5, top + _TITLE_INCHES / figure.get_figheight())
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=place, ncols=len(labels), fontsize=8)


def _panels(count: int, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(10, height * rows))
    figure.subplots_adjust(hspace=0.6, wspace=0.2)  # a layout engine draws everything twice
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]
