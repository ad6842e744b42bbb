"""The table and the drawing of a hyper-parameter search."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.experiments.space import Dimension, Range
from training.experiments.tasks import LOWER_IS_BETTER
from training.experiments.tune import BEST_FILE, TRIALS_FILE, Search, Trial
from training.reports.fonts import fitting_fonts
from training.saying import say

FIGURE_FILE = "search.png"
_SHOWN = 10


def print_search(search: Search, command: str, console: Console) -> None:
    """The best trials, what was given up, and how to train with the best settings.

    Args:
        search: that ended.
        command: that trains what was searched, `image`, `text` or `series`.
        console: to print to.
    """
    metric = _words(search.metric)
    table = Table("", "trial", metric, "epochs", *(_words(each.name) for each in search.dimensions))
    for column in table.columns[1:]:
        column.justify, column.overflow = "right", "fold"
    for place, trial in enumerate(search.ranked, 1):
        as_given = search.first_as_given and trial.number == 1
        if place <= _SHOWN or as_given:
            values = [escape(_shown(trial.values[each.name])) for each in search.dimensions]
            number = f"{trial.number} (as given)" if as_given else str(trial.number)
            table.add_row(str(place), number, f"{trial.score:.4f}", str(len(trial.steps)), *values)
    console.print(table)
    figure, advice = draw_search(search, search.folder / FIGURE_FILE)
    if advice:
        say(console, advice, "yellow")
    given_up = len(search.trials) - len(search.ranked)
    best = shlex.quote(str(search.folder / BEST_FILE))
    for line in (
        f"{len(search.trials)} trials, {given_up} given up early; {search.folder}/{TRIALS_FILE}; {figure}",
        f"the best of many is lucky, too: its {metric} on unseen data will be a little worse; the test part was not "
        f"looked at, so train once and see:",
        f"python -m training {command} --config {best} --output REPOSITORY --name NAME",
    ):
        say(console, line)


@rc_context({"text.parse_math": False})
def draw_search(search: Search, path: Path) -> tuple[Path, str]:
    """A PNG of the scores over the trials, and over each setting that was searched; and what its fonts lack."""
    columns = min(3, 1 + len(search.dimensions))
    rows = -(-(1 + len(search.dimensions)) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    first, *others = figure.subplots(rows, columns, squeeze=False).ravel()
    _draw_course(search, first)
    for axes, dimension in zip(others, search.dimensions, strict=False):
        _draw_dimension(search, dimension, axes)
    for axes in others[len(search.dimensions) :]:
        axes.set_axis_off()
    with fitting_fonts(figure) as fonts:
        figure.savefig(path, dpi=110)
    return path, fonts.advice


def _draw_course(search: Search, axes: Axes) -> None:
    better = min if search.metric in LOWER_IS_BETTER else max
    done = [(trial.number, trial.score) for trial in search.trials if trial.score is not None]
    scores = [score for _, score in done]
    axes.scatter([number for number, _ in done], scores, s=14, label="trained")
    best_so_far = [better(scores[: place + 1]) for place in range(len(scores))]
    axes.step([number for number, _ in done], best_so_far, where="post", color="tab:green", label="best so far")
    _draw_given_up(search, lambda trial: trial.number, axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=f"validation {_words(search.metric)}")
    axes.legend()


def _draw_dimension(search: Search, dimension: Dimension, axes: Axes) -> None:
    is_range = isinstance(dimension, Range)

    def place(trial: Trial) -> float:
        value = trial.values[dimension.name]
        return float(str(value)) if is_range else dimension.bounds().index(value)

    _draw_given_up(search, place, axes)
    found = [(place(trial), trial.score) for trial in search.ranked if trial.score is not None]
    axes.scatter([where for where, _ in found], [score for _, score in found], s=14)
    (where, best), *_ = found
    axes.scatter(where, best, s=60, facecolors="none", edgecolors="tab:red")
    if isinstance(dimension, Range) and dimension.log:
        axes.set_xscale("log")
        axes.margins(x=0.03)
    if not is_range:
        axes.set_xticks(range(len(dimension.bounds())), [_shown(value) for value in dimension.bounds()])
    axes.set(xlabel=dimension.name, ylabel=f"validation {_words(search.metric)}")


def _draw_given_up(search: Search, place: Callable[[Trial], float], axes: Axes) -> None:
    """The last scores of those that were given up."""
    given_up = [trial for trial in search.trials if trial.score is None and trial.steps]
    if given_up:
        last = [trial.steps[max(trial.steps)] for trial in given_up]
        axes.scatter([place(trial) for trial in given_up], last, s=14, marker="x", color="grey", label="given up")


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
