"""K-fold validation: how good a way of training is, by data that each time it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from training.evaluation.repeats import Repeated, repeated
from training.evaluation.significance import Interval, share_interval
from training.experiments.tasks import Task
from training.experiments.trials import ANSWERS_FILE, TRIALS_FOLDER, Experiment, Score, read_csv
from training.runs import TrainingRun
from training.settings.experiments import FoldSettings

FOLDS_FILE, PREDICTIONS_FILE = "folds.csv", "predictions.csv"


@dataclass(frozen=True)
class FoldsOutcome:
    """What the folds gave."""

    folds: tuple[Score, ...]
    answers: list[dict[str, str]]
    """Of all items, with their fold."""
    folder: Path

    @property
    def means(self) -> dict[str, Repeated]:
        """Over the folds, by metric."""
        return {name: repeated([fold.metrics[name] for fold in self.folds]) for name in self.folds[0].metrics}

    @property
    def pooled(self) -> tuple[float, Interval] | None:
        """Accuracy over all items, with Wilson's interval; None for forecasts."""
        if "correct" not in self.answers[0]:
            return None
        hits = sum(int(answer["correct"]) for answer in self.answers)
        return hits / len(self.answers), share_interval(hits, len(self.answers))


def kfold(settings: FoldSettings, task: Task[Any], console: Console | None = None) -> FoldsOutcome:
    """Train as many times as there are folds, each time validated on another one; the test part stays unseen.

    The validation part also chooses the best epoch, so a score is a little better than that of unseen data.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a folder.
    """
    experiment = Experiment(settings, task, console)
    of_runs, run = experiment.of_runs, TrainingRun(experiment.of_runs, experiment.console)
    data = task.read(of_runs, run)
    scores: list[Score] = []
    for number, fold in enumerate(task.folds(of_runs, data, settings.folds), 1):
        experiment.say(f"\nfold {number} of {settings.folds}", style="bold")
        scores.append(experiment.score(f"fold-{number}", of_runs, task.clean(of_runs, fold, run)))
        experiment.say(f"{scores[-1].headline} {scores[-1].value:.4f}")
        experiment.tell_left(settings.folds - number)
        experiment.write_table(FOLDS_FILE, [{"fold": place, **row.metrics} for place, row in enumerate(scores, 1)])
    experiment.end()
    answers = [
        {"fold": str(number), **answer}
        for number, score in enumerate(scores, 1)
        for answer in read_csv(experiment.folder / TRIALS_FOLDER / score.trial / ANSWERS_FILE)
    ]
    experiment.write_table(PREDICTIONS_FILE, answers)
    return FoldsOutcome(tuple(scores), answers, experiment.folder)
