"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from service.settings import Settings
from service.tuning.choosing import Setting
from service.tuning.report import Report, Tuned
from service.tuning.trials import Trial
from service.tuning.wording import explain


def table(model: Tuned) -> Table:
    """Rows a second: a line for each combination, a column for each batch size."""
    sizes = sorted({trial.rows for trial in model.measured})
    made = Table(
        title=f"{model.version.name} {model.version.version} on {model.device.name}: rows/s by the rows of a batch",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # the usual one cuts numbers off in 80 columns
    )
    for heading in ("instances", "threads", *map(str, sizes), "1 row ms"):
        made.add_column(heading, justify="right", no_wrap=True)
    for combination in sorted({trial.combination for trial in model.measured}):
        trials = [Trial(combination, rows) for rows in sizes]
        one_row = model.measured.get(Trial(combination, sizes[0]))
        made.add_row(
            *(str(combination.instances), str(combination.threads)),
            *(_rate(model, trial) for trial in trials),
            f"{1e3 * one_row.run_seconds:.3g}" if one_row else "",
        )
    made.caption = "green: chosen; underlined: " + ("as configured" if model.configured else "default")
    made.caption_justify = "left"
    return made


def to_json(report: Report, settings: Settings) -> dict[str, Any]:
    """Everything, in plain values; seconds and rows per second."""
    return {
        "cores": settings.compute_threads,
        "max_batch_size": report.max_batch_size(settings.max_batch_size),
        "models": [_model(model) for model in report.tuned],
        "skipped": report.skipped,
    }


def _rate(model: Tuned, trial: Trial) -> Text:
    if trial not in model.measured:
        return Text("wrong" if trial in model.failed else "-", style="red" if trial in model.failed else "dim")
    styles = []
    if model.choice and trial == model.choice.best.trial:
        styles.append("bold green")
    if model.choice and trial == model.choice.default.trial:
        styles.append("underline")
    return Text(f"{model.measured[trial].rows_per_second:,.0f}", style=" ".join(styles))


def _model(model: Tuned) -> dict[str, Any]:
    choice = model.choice
    return {
        "name": model.version.name,
        "version": model.version.version,
        "device": model.device.name,
        "choice": _setting(choice.best) if choice else None,
        "default": _setting(choice.default) if choice else None,
        "gain": round(choice.gain, 4) if choice else None,
        "explanation": list(explain(model)),
        "measured": [
            _trial(trial)
            | {
                "rows_per_second": round(found.rows_per_second, 2),
                "run_seconds": round(found.run_seconds, 7),
                "spread": round(found.spread, 4),
                "looks": len(found.samples),
            }
            for trial, found in sorted(model.measured.items())
        ],
        "failed": [_trial(trial) | {"reason": why} for trial, why in sorted(model.failed.items())],
    }


def _trial(trial: Trial) -> dict[str, int]:
    return {"instances": trial.combination.instances, "threads": trial.combination.threads, "rows": trial.rows}


def _setting(setting: Setting) -> dict[str, float]:
    return _trial(setting.trial) | {
        "rows_per_second": round(setting.rows_per_second, 2),
        "run_seconds": round(setting.run_seconds, 7),
        "one_row_seconds": round(setting.one_row_seconds, 7),
    }
