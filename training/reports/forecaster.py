"""The report of a forecaster, `report.html` in its run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import covered_by_step
from training.evaluation.verdict import learning_verdict
from training.pipelines.series import SeriesOutcome
from training.reports.figures import learning_curves
from training.reports.forecast_figures import (
    ForecastExample,
    coverage_by_step,
    error_by_step,
    forecast_examples,
    stretch_of_forecasts,
)
from training.reports.making import write_report
from training.reports.page import Page
from zoo.card import SeriesTask

_TARGETS = 6
"""That are drawn; of more the first ones. Tables have all."""
_EXAMPLES = 3
"""Windows evenly over the test part; the worst one is shown beside them."""
_STRETCH = 200
"""Windows of one step that are drawn one behind the other: the newest ones."""


def write_forecast_report(outcome: SeriesOutcome) -> Path:
    """Write the report of a forecaster."""
    page = Page(outcome.card.name, outcome.card.description)
    _add_errors(page, outcome)
    _add_forecasts(page, outcome)
    _add_intervals(page, outcome)
    page.section("Learning curves", learning_verdict(outcome.fit.history))
    page.figure(learning_curves(outcome.fit.history, outcome.fit.best_epoch))
    return write_report(page, outcome.card, outcome.run_folder)


def _add_errors(page: Page, outcome: SeriesOutcome) -> None:
    rows = {"this model": outcome.test} | {name.replace("_", " "): report for name, report in outcome.baselines.items()}
    task = _task(outcome)
    page.section(
        "Test part",
        f"{outcome.card.provenance.split}; {outcome.test.windows} forecasts of {task.horizon_steps} steps of "
        f"{task.step_seconds} s. Errors are in the units of the targets.",
    )
    columns = ("MAE", "RMSE", "MAE first step", "MAE last step")
    for index, target in enumerate(task.targets):
        page.table(
            [
                (name, report.mae_of(index), report.rmse_of(index), report.mae[0, index], report.mae[-1, index])
                for name, report in rows.items()
            ],
            (f"{target.name} {target.unit}".strip(), *columns),
        )
    if len(task.targets) > 1:
        std = _std(outcome)
        page.table(
            [(name, report.scaled_mse(std), report.scaled_mae(std)) for name, report in rows.items()],
            ("all, in standard deviations", "MSE", "MAE"),
        )
    if task.horizon_steps == 1:
        return
    page.section("Error over the horizon", "Mean absolute error of each step on the test part.")
    page.figure(error_by_step({name: report.mae[:, :_TARGETS] for name, report in rows.items()}, _drawn(outcome)))


def _add_forecasts(page: Page, outcome: SeriesOutcome) -> None:
    if _task(outcome).horizon_steps == 1:
        page.section("Forecasts", f"One step ahead, the newest {_STRETCH} windows of the test part at most.")
        page.figure(stretch_of_forecasts([_stretch(outcome, index) for index in range(len(_drawn(outcome)))]))
        return
    rows = _example_windows(outcome)
    page.section("Forecasts", "Windows evenly over the test part, and the one with the largest error.")
    for index in range(len(_drawn(outcome))):
        page.figure(forecast_examples([_example(outcome, row, title, index) for row, title in rows.items()]))


def _example_windows(outcome: SeriesOutcome) -> dict[int, str]:
    """Windows of the test part to look at, and how they were chosen."""
    count = outcome.test.windows
    chosen = {int(row): f"window {row + 1} of {count}" for row in np.linspace(0, count - 1, _EXAMPLES).astype(int)}
    worst = int((np.abs(outcome.errors) / _std(outcome)).mean((1, 2)).argmax())
    return chosen | {worst: f"window {worst + 1} of {count}, the worst"}


def _add_intervals(page: Page, outcome: SeriesOutcome) -> None:
    task = _task(outcome)
    if task.interval is None:
        page.section("Prediction intervals", "None.")
        return
    half_widths = np.array(task.interval.half_widths)
    page.section(
        "Prediction intervals",
        f"They should cover {task.interval.coverage:.0%} of what comes; of the test part they cover this.",
    )
    names = [target.name for target in task.targets]
    page.table(
        [
            (name, covered, float(width))
            for name, covered, width in zip(names, outcome.covered, half_widths.mean(0), strict=True)
        ],
        ("target", "covered", "mean half width"),
    )
    if task.horizon_steps > 1:
        covered = covered_by_step(outcome.errors, half_widths)[:, :_TARGETS]
        page.figure(coverage_by_step(covered, task.interval.coverage, _drawn(outcome)))


def _example(outcome: SeriesOutcome, row: int, title: str, target: int) -> ForecastExample:
    history, future = (part[0].numpy() for part in outcome.windows.__getitems__([row]))
    past = history[-2 * len(future) :, target]
    return ForecastExample(
        f"{_drawn(outcome)[target]}, {title}",
        past,
        future[:, target],
        future[:, target] + outcome.errors[row, :, target],
        _half_widths(outcome, target),
    )


def _stretch(outcome: SeriesOutcome, target: int) -> ForecastExample:
    rows = list(range(max(0, outcome.test.windows - _STRETCH), outcome.test.windows))
    future = outcome.windows.__getitems__(rows)[1][:, 0, target].numpy()
    widths = _half_widths(outcome, target)
    return ForecastExample(
        _drawn(outcome)[target],
        future[:0],
        future,
        future + outcome.errors[rows, 0, target],
        None if widths is None else np.repeat(widths, len(rows)),
    )


def _half_widths(outcome: SeriesOutcome, target: int) -> NDArray[np.float64] | None:
    interval = _task(outcome).interval
    return None if interval is None else np.array(interval.half_widths)[:, target]


def _std(outcome: SeriesOutcome) -> list[float]:
    return [outcome.card.reference[target.name].std for target in _task(outcome).targets]


def _drawn(outcome: SeriesOutcome) -> list[str]:
    return [target.name for target in _task(outcome).targets[:_TARGETS]]


def _task(outcome: SeriesOutcome) -> SeriesTask:
    assert isinstance(outcome.card.task, SeriesTask), "a series run makes forecasters"
    return outcome.card.task
