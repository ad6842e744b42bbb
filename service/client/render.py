"""Outcomes as tables for people, or as one JSON object a line for scripts."""

from __future__ import annotations

import json
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.client.batches import Failure, Outcome
from service.client.client import Classification, Forecast


def to_json(outcome: Outcome) -> str:
    """One line: `input` with `predictions`, or with `times`, `forecast` and its interval, or with `error`."""
    content: dict[str, object] = {"input": outcome.input}
    match outcome.result:
        case Failure(code, reason, message):
            content["error"] = {"code": code, "reason": reason, "message": message}
        case Classification(model, version, classes):
            scores = [{"label": item.label, "probability": item.probability} for item in classes]
            content |= {"model": model, "version": version, "predictions": scores}
        case Forecast(model, version, times, values, lower, upper, coverage):
            stamps = [_stamp(time) for time in times]
            content |= {"model": model, "version": version, "times": stamps, "forecast": values}
            if lower:
                content |= {"lower": lower, "upper": upper, "coverage": coverage}
    return json.dumps(content, ensure_ascii=False)


def print_tables(console: Console, outcomes: list[Outcome]) -> None:
    """Print the classifications as one table, and every forecast as one of its own."""
    classified = [outcome for outcome in outcomes if isinstance(outcome.result, Classification)]
    if classified:
        console.print(classification_table(classified))
    for outcome in outcomes:
        if isinstance(outcome.result, Forecast):
            console.print(forecast_table(outcome.input, outcome.result))
    for outcome in outcomes:
        if isinstance(outcome.result, Failure):
            failure = outcome.result
            text = f"{_shorten(outcome.input)}: {failure.code} {failure.reason}: {failure.message}"
            console.print(f"[red]failed[/] {escape(text)}", soft_wrap=True)


def classification_table(outcomes: list[Outcome]) -> Table:
    """One row an item: the best class in bold, the others behind it."""
    table = Table("input", "prediction", "", "others", box=None, pad_edge=False, header_style="dim")
    table.columns[2].justify = "right"
    for outcome in outcomes:
        assert isinstance(outcome.result, Classification)
        best, *others = outcome.result.classes
        rest = ", ".join(f"{item.label} {item.probability:.1%}" for item in others)
        label = f"[bold]{escape(best.label)}[/]"
        table.add_row(escape(_shorten(outcome.input)), label, f"{best.probability:.1%}", f"[dim]{escape(rest)}[/]")
    return table


def forecast_table(name: str, forecast: Forecast) -> Table:
    """One row a step, one column a target, and one beside it for its prediction interval."""
    rows = len(next(iter(forecast.values.values())))
    times = [_stamp(time) for time in forecast.times] or [f"+{step + 1}" for step in range(rows)]
    interval = f"{forecast.coverage:.0%} interval"
    headings = [text for name in forecast.values for text in ([name, interval] if forecast.lower else [name])]
    table = Table("time", *map(escape, headings), box=None, pad_edge=False, header_style="dim")
    table.title, table.title_justify, table.title_style = escape(_shorten(name)), "left", "bold"
    for column in table.columns[1:]:
        column.justify = "right"
    for row, time in enumerate(times):
        table.add_row(time, *(cell for name in forecast.values for cell in _forecast_cells(forecast, name, row)))
    return table


def _forecast_cells(forecast: Forecast, name: str, row: int) -> list[str]:
    value = f"{forecast.values[name][row]:,.6g}"
    if not forecast.lower:
        return [value]
    return [value, f"[dim]{forecast.lower[name][row]:,.6g} to {forecast.upper[name][row]:,.6g}[/]"]


def _stamp(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _shorten(text: str, width: int = 60) -> str:
    flat = " ".join(text.split()) or '""'
    return flat if len(flat) <= width else flat[: width - 1] + "…"
