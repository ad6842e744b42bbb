"""Chooses among what was measured, and says why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from service.tuning.trials import Combination, Measurements, Trial

AS_GOOD = 0.95
"""Of a rate: what reaches this much of the best is as good, since no machine measures more exactly."""


@dataclass(frozen=True)
class Setting:
    """A trial with what matters of it."""

    trial: Trial
    rows_per_second: float
    """Under full load."""
    run_seconds: float
    """What a run of the whole batch takes, the others beside it."""
    one_row_seconds: float
    """What a request of one row takes while nothing else is asked."""

    def is_faster(self, other: Setting) -> bool:
        """Whether it is, by more than what is as good."""
        return self.rows_per_second * AS_GOOD > other.rows_per_second


@dataclass(frozen=True)
class Choice:
    """What to set for a model, beside what the server does by itself."""

    best: Setting
    """The default itself, where nothing better is sure."""
    default: Setting
    gain_by_batch: float = 1.0
    """What other batches alone bring: the best rate of the default's instances and threads, as a multiple."""
    unsure: Setting | None = None
    """What was better in one look only."""

    @property
    def gain(self) -> float:
        """Rows per second, as a multiple of the default's."""
        return self.best.rows_per_second / self.default.rows_per_second

    @property
    def is_faster(self) -> bool:
        """Whether the best is faster than the default, and not only as good on fewer cores."""
        return self.best.is_faster(self.default)

    @property
    def is_default(self) -> bool:
        """Whether instances and threads are those of the default."""
        return self.best.trial.combination == self.default.trial.combination


def choose(measured: Measurements, default: Trial) -> Choice | None:
    """The fastest trial; of those that are as good, the one on the fewest cores, then one that leaves instances and
    threads as they are, then that with the fewest rows under way, whose answers come soonest under full load.

    Args:
        measured: one row and more, with several combinations.
        default: what the server does by itself; where that was not measured, as its runs are too long, the best of its
            combination is taken for it.

    Returns:
        The choice; None where nothing is known of the default.
    """
    own = [trial for trial in measured if trial.combination == default.combination and trial.rows <= default.rows]
    if not own:
        return None
    enough = AS_GOOD * max(measurement.rows_per_second for measurement in measured.values())
    good = [_setting(trial, measured) for trial, found in measured.items() if found.rows_per_second >= enough]
    best = min(good, key=lambda setting: _cost(setting, default.combination))
    best_of_own = max(own, key=lambda trial: measured[trial].rows_per_second)
    as_it_is = _setting(default if default in measured else best_of_own, measured)
    if not _is_worth_it(best, as_it_is):
        return Choice(as_it_is, as_it_is)
    if _is_sure(best, as_it_is, measured):
        same = [found for trial, found in measured.items() if trial.combination == default.combination]
        by_batch = max(found.rows_per_second for found in same) / as_it_is.rows_per_second
        return Choice(best, as_it_is, by_batch)
    return Choice(as_it_is, as_it_is, unsure=best)


def common_rows(models: Iterable[tuple[Measurements, Combination]], sizes: Iterable[int], default: int) -> int:
    """The largest batch to allow for all models, as the server has one limit for all.

    It is the default, or else the smallest size, with which the model that loses most loses as little as with any.

    Args:
        models: what was measured of each, and the combination that it will have.
        sizes: those to choose from, the default among them.
        default: what the server allows by itself.
    """
    known = list(models)
    worst = {size: min(share_of_best(*model, size) for model in known) for size in sorted(sizes)}
    enough = AS_GOOD * max(worst.values())
    return next(size for size in (default, *worst) if worst[size] >= enough)


def share_of_best(measured: Measurements, combination: Combination, size: int) -> float:
    """What of its best rate, as two looks had it, a model has with batches of such a size; beyond what was measured, as
    with the largest."""
    own = {trial.rows: found for trial, found in measured.items() if trial.combination == combination}
    known = max((rows for rows in own if rows <= size), default=min(own))
    best = max(found.repeated_rate for found in own.values())
    return min(own[known].rows_per_second / best, 1.0) if best else 1.0


def _is_worth_it(best: Setting, default: Setting) -> bool:
    """Whether it is faster, or takes fewer cores, or is the default with smaller batches."""
    own, others = best.trial.combination, default.trial.combination
    return own == others or own.cores < others.cores or best.is_faster(default)


def _is_sure(best: Setting, default: Setting, measured: Measurements) -> bool:
    """Whether two looks at the best one bear out what is said of it: that it is faster, or else as good."""
    needed = default.rows_per_second
    if not best.is_faster(default):
        if best.trial.combination == default.trial.combination:
            return True
        needed *= AS_GOOD
    return measured[best.trial].repeated_rate >= needed


def _cost(setting: Setting, default: Combination) -> tuple[int, bool, int, float]:
    combination, rows = setting.trial.combination, setting.trial.rows
    return combination.cores, combination != default, rows * combination.instances, setting.one_row_seconds


def _setting(trial: Trial, measured: Measurements) -> Setting:
    found = measured[trial]
    alone = Combination(trial.combination.threads, 1)
    one_row = min((other for other in measured if other.combination in (alone, trial.combination)), key=_loneliness)
    return Setting(trial, found.rows_per_second, found.run_seconds, measured[one_row].run_seconds)


def _loneliness(trial: Trial) -> tuple[int, int]:
    return trial.combination.instances, trial.rows
