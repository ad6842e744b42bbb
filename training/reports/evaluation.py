"""What `python -m training evaluate` prints and writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.errors import SettingsError
from training.evaluation.estimates import Estimate
from training.files import write_whole
from training.pipelines.published.evaluate import Evaluation
from training.reports.numbers import chance
from training.saying import say


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """One row per metric: through ONNX Runtime, through the server, of the other model."""
    published, remote, other = evaluation.published, evaluation.remote, evaluation.other
    table = Table(title=escape(f"{published.card.name} version {published.version}"), title_justify="left")
    for heading in ("", "ONNX Runtime", "95 % interval"):
        table.add_column(heading, justify="right" if heading else "left")
    cost, columns = evaluation.cost, {}
    if remote:
        columns["server"] = remote.measured
    if other:
        columns[f"{other.published.name} {other.published.version}"] = other.measured
    for heading in columns:
        table.add_column(heading, justify="right")
    for name, estimate in evaluation.measured.estimates.items():
        cells = [_number(measured.estimates.get(name)) for measured in columns.values()]
        table.add_row(escape(name.replace("_", " ")), _number(estimate), _interval(estimate), *cells)
    console.print(table)
    lines = [
        f"on {evaluation.examples.what}",
        f"one item takes {cost.latency_ms:.3g} ms (95th percentile {cost.latency_p95_ms:.3g} ms), one thread; "
        f"{cost.size_mb:.2f} MB",
    ]
    if remote:
        lines.append(
            f"the server differs from ONNX Runtime here by {remote.largest_difference:.1e} at most"
            + (f"; it names another class for {remote.other_answers} items" if remote.measured.report else "")
        )
    if other:
        lines.append(_against(evaluation))
    for line in lines:
        say(console, line)


def print_checks(evaluation: Evaluation, console: Console) -> bool:
    """One row per limit, those that are not kept marked; whether all are kept."""
    table = Table("", "measured", "limit", "")
    for check in evaluation.checks:
        verdict = "passed" if check.passed else "[bold red]FAILED[/]"
        table.add_row(escape(check.figure.replace("_", " ")), f"{check.measured:.5g}", check.limit, verdict)
    console.print(table)
    failed = [check for check in evaluation.checks if not check.passed]
    words = f"{len(failed)} of {len(evaluation.checks)} limits not kept" if failed else "all limits kept"
    console.print(words, style="red" if failed else "green")
    return not failed


def check_result(path: Path) -> None:
    """Check, before anything is measured, that the result can be written.

    Raises:
        SettingsError: it cannot.
    """
    if path.is_dir():
        raise SettingsError(f"--result {path} is a folder; name a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise SettingsError(f"--result {path}: {path.parent} is no folder that can be written; make it first")


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write all numbers as JSON.

    Raises:
        SettingsError: the file cannot be written.
    """
    published, remote, other = evaluation.published, evaluation.remote, evaluation.other
    values: dict[str, Any] = {
        "model": published.name,
        "version": published.version,
        "data_sha256": evaluation.examples.sha256,
        "on": evaluation.examples.what,
        "metrics": _values(evaluation.measured.estimates),
        **evaluation.cost._asdict(),
    }
    if remote:
        values["server"] = {
            "metrics": _values(remote.measured.estimates),
            "largest_difference": remote.largest_difference,
            "other_answers": remote.other_answers,
        }
    if other:
        values["against"] = {
            "model": other.published.name,
            "version": other.published.version,
            "metrics": _values(other.measured.estimates),
            "better_by": _value(other.better_by),
            "p_value": other.p_value,
            **other.cost._asdict(),
        }
    if evaluation.checks:
        values["gate"] = [check._asdict() for check in evaluation.checks]
    try:
        write_whole(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    except OSError as exc:
        raise SettingsError(f"--result {path} cannot be written: {exc.strerror}") from exc


def _against(evaluation: Evaluation) -> str:
    other = evaluation.other
    assert other is not None, "only called with one. This is a bug."
    what = "accuracy" if evaluation.measured.report else "scaled MAE, less by"
    interval = _interval(other.better_by)
    text = f"over {other.published.name} {other.published.version}: {what} {other.better_by.value:+.4f}"
    text += f" ({interval})" if interval else ""
    return text if other.p_value is None else f"{text}, p {chance(other.p_value)} (McNemar's exact test)"


def _number(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.5g}"


def _interval(estimate: Estimate) -> str:
    interval = estimate.interval
    return f"{interval.low:.4g} to {interval.high:.4g}" if interval else ""


def _values(estimates: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: _value(estimate) for name, estimate in estimates.items()}


def _value(estimate: Estimate) -> dict[str, float]:
    interval = estimate.interval
    return {"value": estimate.value} | ({"low": interval.low, "high": interval.high} if interval else {})
