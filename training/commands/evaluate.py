"""`python -m training evaluate`."""

from __future__ import annotations

import typer
from rich.console import Console

from training.commands.options import settings_command
from training.settings import EvaluateSettings


@settings_command(EvaluateSettings, "model", "data")
def command(settings: EvaluateSettings) -> None:
    """Measure a published model on a data set, through ONNX Runtime and, with --server, through a running server.

    Metrics stand with their 95 % intervals; --against measures another model on the same items. With --gate the exit
    code is 1 if a limit is not kept.
    """
    from training.pipelines.published.evaluate import evaluate
    from training.reports.evaluation import check_result, print_checks, print_evaluation, write_evaluation

    if settings.result:
        check_result(settings.result)
    console, evaluation = Console(), evaluate(settings)
    print_evaluation(evaluation, console)
    if settings.result:
        write_evaluation(evaluation, settings.result)
    if evaluation.checks and not print_checks(evaluation, console):
        raise typer.Exit(1)
