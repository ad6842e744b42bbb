"""`python -m training evaluate`."""

from __future__ import annotations

from rich.console import Console

from training.commands.options import settings_command
from training.settings import EvaluateSettings


@settings_command(EvaluateSettings, "model", "data")
def command(settings: EvaluateSettings) -> None:
    """Measure a published model on a data set, through ONNX Runtime and, with --server, through a running server.

    Metrics stand with their 95 % intervals; --against measures another model on the same items.
    """
    from training.pipelines.published.evaluate import evaluate
    from training.reports.evaluation import print_evaluation, write_evaluation

    evaluation = evaluate(settings)
    print_evaluation(evaluation, Console())
    if settings.result:
        write_evaluation(evaluation, settings.result)
