"""What a run of texts or of series prints at its end: the result beside the simple answers that it has to beat."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.evaluation.forecasts import ForecastReport
from training.pipelines.series import SeriesOutcome
from training.pipelines.text import TextOutcome
from training.reports.classifier import write_text_report
from training.reports.forecaster import write_forecast_report
from training.reports.summary import print_baselines, print_classifier, print_fit, print_published
from training.saying import say
from zoo.card import SeriesTask


def print_text_run(outcome: TextOutcome, repository: Path, console: Console) -> None:
    """The fit, the confusion matrix, accuracy beside the baselines, and where the model is."""
    print_fit(outcome.fit, outcome.run_folder, console)
    print_classifier(outcome.card, outcome.test, console)
    print_baselines(outcome.test, outcome.baselines, console)
    say(console, f"validation accuracy {outcome.validation.accuracy:.4f}")
    say(console, f"torch and ONNX Runtime differ by {outcome.parity:.1e}, relative")
    report = write_text_report(outcome)
    say(console, f"report: {report}")
    print_published(outcome.published, repository, console)


def print_series_run(outcome: SeriesOutcome, repository: Path, console: Console) -> None:
    """The fit, errors per target beside the naive rules, the error over the horizon, and where the model is."""
    print_fit(outcome.fit, outcome.run_folder, console)
    task = outcome.card.task
    assert isinstance(task, SeriesTask), "a series run makes forecasters"
    rows = {"this_model": outcome.test} | outcome.baselines
    std = [outcome.card.reference[target.name].std for target in task.targets]
    print_errors(task, rows, std, console)
    if task.interval:
        shares = ", ".join(
            f"{covered:.1%} of {target.name}" for covered, target in zip(outcome.covered, task.targets, strict=True)
        )
        say(
            console,
            f"{task.interval.coverage:.0%} prediction intervals cover {shares} on the test part",
        )
    say(
        console,
        f"{outcome.test.windows} forecasts of {task.horizon_steps} steps ({outcome.card.provenance.split})",
    )
    say(console, f"torch and ONNX Runtime differ by {outcome.parity:.1e}, relative")
    say(console, f"report: {write_forecast_report(outcome)}")
    print_published(outcome.published, repository, console)


def print_errors(task: SeriesTask, rows: dict[str, ForecastReport], std: list[float], console: Console) -> None:
    """A table of each target, and of all where there are several.

    Args:
        task: of the model.
        rows: `this_model` and the baselines by name.
        std: standard deviation of each target.
        console: to print to.
    """
    for index, target in enumerate(task.targets):
        console.print(_error_table(rows, index, f"{target.name}{f' [{target.unit}]' if target.unit else ''}"))
    if len(task.targets) > 1:
        console.print(_scaled_table(rows, std))


def _error_table(rows: dict[str, ForecastReport], target: int, title: str) -> Table:
    best_other = min(report.mae_of(target) for name, report in rows.items() if name != "this_model")
    table = Table(title=escape(f"test errors of {title}"), title_justify="left")
    table.add_column("")
    for heading in ("MAE", "RMSE", "MAE first step", "MAE last step", "MAE / best other"):
        table.add_column(heading, justify="right")
    for name, report in rows.items():
        mae = report.mae_of(target)
        values = (mae, report.rmse_of(target), float(report.mae[0, target]), float(report.mae[-1, target]))
        ratio = f"{mae / best_other:.2f}" if best_other else ""
        table.add_row(name.replace("_", " "), *(f"{value:.5g}" for value in values), ratio)
    return table


def _scaled_table(rows: dict[str, ForecastReport], std: list[float]) -> Table:
    table = Table("", "MSE", "MAE", title="test errors of all targets, in standard deviations", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, report in rows.items():
        table.add_row(name.replace("_", " "), f"{report.scaled_mse(std):.4f}", f"{report.scaled_mae(std):.4f}")
    return table
