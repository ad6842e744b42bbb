"""The tables of experiments."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.evaluation.repeats import Repeated
from training.experiments.ablate import CONTRIBUTIONS_FILE, SCORES_FILE, Ablation
from training.experiments.kfold import FOLDS_FILE, PREDICTIONS_FILE, FoldsOutcome
from training.reports.numbers import chance, decimals
from training.saying import say


def print_folds(outcome: FoldsOutcome, console: Console) -> None:
    """One row per fold, their mean and its interval."""
    metrics = list(outcome.folds[0].metrics)
    caption = (
        "on the validation part of each fold; 95 %: Student's interval of the mean, somewhat too narrow, since folds "
        "share training data"
    )
    headings = [escape(_words(name)) for name in metrics]
    table = Table("", *headings, "epochs", "seconds", caption=caption, caption_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for fold in outcome.folds:
        values = [decimals(fold.metrics[name]) for name in metrics]
        table.add_row(fold.trial, *values, f"{fold.best_epoch} of {fold.epochs}", f"{fold.seconds:.0f}")
    table.add_section()
    table.add_row("mean", *(decimals(outcome.means[name].mean) for name in metrics))
    table.add_row("95 %", *(_spread(outcome.means[name]) for name in metrics))
    console.print(table)
    if outcome.pooled:
        accuracy, interval = outcome.pooled
        say(console, f"all {len(outcome.answers)} items together: accuracy {accuracy:.4f} ({interval}, Wilson)")
    say(console, f"{outcome.folder}/{FOLDS_FILE} and {PREDICTIONS_FILE}; the test part was not looked at")


def print_ablation(outcome: Ablation, console: Console) -> None:
    """One row per ingredient, what gives most first."""
    metric = _words(outcome.metric)
    seeds = f"{outcome.seeds} seed{'s' * (outcome.seeds > 1)}"
    caption = (
        f"validation {metric}, mean of {seeds}; gain: by how much it is better with the ingredient, with Student's "
        f"95 % interval; p: paired t test, each ingredient for itself"
    )
    table = Table("", metric, "gain", "95 %", "p", caption=caption, caption_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("everything", f"{outcome.everything.mean:.4f} {_spread(outcome.everything)}", "", "", "")
    table.add_section()
    for row in outcome.contributions:
        diverged = f" ({row.diverged} of {outcome.seeds} diverged)" if row.diverged else ""
        name = escape(f"{row.ingredient.words}{diverged}")
        table.add_row(
            name, f"{row.without.mean:.4f}", f"{row.gain.mean:+.4f}", _spread(row.gain), chance(row.gain.p_value)
        )
    console.print(table)
    say(console, f"{outcome.folder}/{CONTRIBUTIONS_FILE} and {SCORES_FILE}; the test part was not looked at")


def _spread(value: Repeated) -> str:
    return f"± {decimals(value.interval.high - value.mean)}" if value.interval else ""


def _words(name: str) -> str:
    return name.replace("_", " ")
