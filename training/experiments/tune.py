"""Hyper-parameter search by Optuna: its study lies in a file, so that it goes on where it was killed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError
from rich.console import Console

from training.errors import DataError, DivergedError, FitError, SettingsError, StoppedError, TrainingError
from training.experiments.ingredients import problem_of
from training.experiments.space import Dimension, read_space
from training.experiments.tasks import LOWER_IS_BETTER, Task
from training.experiments.trials import Experiment
from training.files import write_whole
from training.settings import RunSettings
from training.settings.experiments import SearchSettings

STUDY_FILE, TRIALS_FILE, BEST_FILE = "study.db", "trials.csv", "best.yaml"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_OF_THE_SEARCH = {"output", "version", "name", "runs", "resume"}
_REASON, _DATA = "reason", "data_sha256"


@dataclass(frozen=True)
class Trial:
    """A training of a search."""

    number: int
    """Counted from 1."""
    values: Mapping[str, object]
    """Of the settings that are searched."""
    score: float | None
    """None: it was given up."""
    steps: Mapping[int, float]
    """Score after each epoch."""
    reason: str
    """Why it was given up."""


@dataclass(frozen=True)
class Search:
    """What a search gave."""

    metric: str
    trials: tuple[Trial, ...]
    """In the order of their numbers."""
    dimensions: tuple[Dimension, ...]
    first_as_given: bool
    """Whether the first trial has the settings that were given."""
    folder: Path

    @property
    def ranked(self) -> list[Trial]:
        """Those that were not given up, the best first."""
        sign = 1 if self.metric in LOWER_IS_BETTER else -1
        done = [trial for trial in self.trials if trial.score is not None]
        return sorted(done, key=lambda trial: sign * (trial.score or 0.0))

    @property
    def best(self) -> Trial:
        """Of equally good ones the first."""
        return self.ranked[0]


def tune(settings: SearchSettings, task: Task[Any], console: Console | None = None) -> Search:
    """Search for the settings with the best validation score; the test part stays unseen.

    A killed search that is resumed tries what one would have tried that never stopped: what a trial is depends on the
    seed, on its number, and on the finished trials before it.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a folder.
    """
    dimensions = read_space(settings, task.kind)
    given = settings.of_run(task.kind)
    metric = task.metric(given)
    experiment = Experiment(settings, task, console)
    data_sha256 = task.sha256(experiment.read(given))
    with _open_study(experiment.folder / STUDY_FILE, settings, metric) as study:
        _check_data(study, data_sha256, experiment.folder)
        as_given = {each.name: getattr(given, each.name) for each in dimensions}
        first_as_given = all(each.holds(as_given[each.name]) for each in dimensions)
        _requeue_unfinished(study, len(dimensions))
        if first_as_given and not study.get_trials(states=(*_FINISHED, TrialState.WAITING)):
            study.enqueue_trial(as_given)
        _search(study, settings, experiment, dimensions)
        trials = tuple(_trial(place, each) for place, each in enumerate(study.get_trials(states=_FINISHED), 1))
    experiment.end()
    if not any(trial.score is not None for trial in trials):
        raise SettingsError(f"none of {len(trials)} trials could be trained; the first: {trials[0].reason}")
    search = Search(metric, trials, dimensions, first_as_given, experiment.folder)
    _write(search, settings, task, experiment)
    return search


@contextmanager
def _open_study(path: Path, settings: SearchSettings, metric: str) -> Iterator[optuna.Study]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    pruner = optuna.pruners.MedianPruner(settings.startup_trials, settings.startup_epochs)
    try:
        yield optuna.create_study(
            storage=storage,
            study_name=settings.name,
            direction="minimize" if metric in LOWER_IS_BETTER else "maximize",
            pruner=pruner if settings.pruning else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _check_data(study: optuna.Study, sha256: str, folder: Path) -> None:
    """Scores on other data cannot be compared."""
    if (then := study.user_attrs.get(_DATA, sha256)) != sha256:
        raise DataError(
            f"the data are not those that the search in {folder} began with: sha256 {sha256[:12]}, then {then[:12]}; "
            f"begin a new search"
        )
    study.set_user_attr(_DATA, sha256)


def _requeue_unfinished(study: optuna.Study, dimensions: int) -> None:
    """The trial that a killed search was in the middle of comes next; it goes on in its folder."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if len(trial.params) == dimensions:
            study.enqueue_trial(trial.params)


def _search(
    study: optuna.Study, settings: SearchSettings, experiment: Experiment, dimensions: Sequence[Dimension]
) -> None:
    until = time.monotonic() + 3600 * settings.hours if settings.hours else float("inf")
    while (done := len(study.get_trials(deepcopy=False, states=_FINISHED))) < settings.trials:
        if time.monotonic() > until:
            experiment.say(f"{settings.hours:g} hours are over after {done} of {settings.trials} trials")
            return
        study.sampler = optuna.samplers.TPESampler(seed=settings.of_run(experiment.task.kind).seed * 10_000 + done)
        trial = study.ask()
        values = {each.name: each.suggest(trial) for each in dimensions}
        shown = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
        experiment.say(f"\ntrial {done + 1} of {settings.trials}: {shown}", style="bold")
        _try(study, trial, f"trial-{done + 1:03}", values, settings, experiment)
        experiment.tell_left(settings.trials - done - 1)


def _try(
    study: optuna.Study,
    trial: optuna.Trial,
    name: str,
    values: Mapping[str, object],
    settings: SearchSettings,
    experiment: Experiment,
) -> None:
    """Train once and tell the study how good it was, or why there is nothing to tell."""

    def give_up(reason: str) -> None:
        trial.set_user_attr(_REASON, reason)
        study.tell(trial, state=TrialState.PRUNED)
        experiment.drop_weights(name)
        experiment.say(reason, style="yellow")

    reported = 0

    def after_epoch(history: Sequence[Mapping[str, float]]) -> None:
        nonlocal reported
        for row in history[reported:]:  # of a resumed training, those before it, too
            trial.report(row["score"], int(row["epoch"]))
        reported = len(history)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        chosen: RunSettings = settings.of_run(experiment.task.kind, **values)
        score = experiment.score(name, chosen, experiment.read(chosen), after_epoch)
    except ValidationError as exc:
        return give_up(f"impossible: {problem_of(exc)}")
    except DivergedError as exc:
        return give_up(f"given up: {exc}")
    except optuna.TrialPruned:
        return give_up("given up: worse than the median of the trials before it at that epoch")
    except (StoppedError, FitError):
        raise
    except TrainingError as exc:  # the data are readable, so it is these settings
        return give_up(f"impossible: {exc}")
    if not math.isfinite(score.value):  # the study would count no trial, and the search never end
        return give_up(f"given up: its {score.headline} is not finite")
    study.tell(trial, score.value)
    experiment.say(f"{score.headline} {score.value:.4f}")
    return None


def _trial(number: int, trial: FrozenTrial) -> Trial:
    score = trial.value if trial.state == TrialState.COMPLETE else None
    return Trial(number, trial.params, score, trial.intermediate_values, str(trial.user_attrs.get(_REASON, "")))


def _write(search: Search, settings: SearchSettings, task: Task[Any], experiment: Experiment) -> None:
    experiment.write_table(TRIALS_FILE, [_row(search.metric, trial) for trial in search.trials])
    best = settings.of_run(task.kind, **search.best.values).model_dump(mode="json", exclude=_OF_THE_SEARCH)
    write_whole(search.folder / BEST_FILE, yaml.safe_dump(best, sort_keys=False, allow_unicode=True))


def _row(metric: str, trial: Trial) -> dict[str, object]:
    measured = {"trial": trial.number, metric: trial.score, "epochs": len(trial.steps)}
    return {**measured, **trial.values, "given_up": trial.reason}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
