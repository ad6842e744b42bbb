"""The folder of an experiment, and the trainings in it: each is done once, whatever interrupts the experiment."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from training.errors import DataError, SettingsError, StoppedError
from training.experiments.tasks import Task, Validated
from training.files import write_rows, write_whole
from training.runs import SETTINGS_FILE, TrainingRun, write_settings
from training.runs.manifest import MANIFEST_FILE
from training.runs.run import AfterEpoch, make_run_folder
from training.saying import say
from training.settings import RunSettings
from training.settings.experiments import ExperimentSettings
from zoo.repository import check_name

TRIALS_FOLDER, SCORE_FILE, ANSWERS_FILE = "trials", "score.json", "answers.csv"


@dataclass(frozen=True)
class Score:
    """A finished training, on its validation part."""

    trial: str
    metrics: dict[str, float]
    """See `training.experiments.tasks.Validated`."""
    best_epoch: int
    epochs: int
    seconds: float
    data_sha256: str

    @property
    def headline(self) -> str:
        """Name of the metric that decides."""
        return next(iter(self.metrics))

    @property
    def value(self) -> float:
        """Of the metric that decides."""
        return self.metrics[self.headline]


class Experiment:
    """An experiment, opened anew or to go on with.

    Args:
        settings: of the experiment.
        task: what is trained.
        console: for progress; default: standard error.

    Raises:
        SettingsError: the folder to go on with is none of an experiment.
        RepositoryError: the name cannot name a folder.
    """

    def __init__(self, settings: ExperimentSettings, task: Task[Any], console: Console | None = None) -> None:
        check_name(settings.name)
        self.settings, self.task = settings, task
        self.console = console or Console(stderr=True)
        self.of_runs = settings.of_run(task.kind)
        self._seconds: list[float] = []
        self._told = False
        if settings.resume is not None:
            _check_folder(settings.resume)

    @cached_property
    def folder(self) -> Path:
        """Where it writes. It is made with the first thing to write: data that cannot be read leave nothing behind.

        Raises:
            SettingsError: it cannot be made.
        """
        folder = self.settings.resume
        if folder is None:
            folder = make_run_folder(self.of_runs.runs, self.settings.name)
            write_settings(folder / SETTINGS_FILE, self.settings)
        self.say(f"experiment in {folder}: measured on validation parts, the test part stays unseen")
        return folder

    def say(self, *lines: str, style: str = "") -> None:
        """Print lines as they are."""
        for line in lines:
            say(self.console, line, style or None)

    def opened(self, trial: str, settings: RunSettings, after_epoch: AfterEpoch | None = None) -> TrainingRun:
        """The run of a trial; where it was begun before, it goes on."""
        trials = self.folder / TRIALS_FOLDER
        begun = [path.parent for path in sorted((trials / trial).glob(f"*/{MANIFEST_FILE}"))]
        where = {"name": trial, "runs": trials, "resume": begun[-1] if begun else None}
        return TrainingRun(settings.model_copy(update=where), self.console, after_epoch)

    def read(self, settings: RunSettings) -> Any:
        """The data of trials on the split of the settings; what was found in them is told once."""
        run = TrainingRun(settings, Console(quiet=True) if self._told else self.console)
        self._told = True
        return self.task.clean(settings, self.task.read(settings, run), run)

    def score(self, trial: str, settings: RunSettings, data: Any, after_epoch: AfterEpoch | None = None) -> Score:
        """Train and validate; what was finished before is not done again.

        Args:
            trial: its name.
            settings: of the training.
            data: of the task.
            after_epoch: told the epochs; what it raises ends the training.

        Raises:
            DataError: it was finished on other data.
            StoppedError: Ctrl-C ended it.
        """
        path = self.folder / TRIALS_FOLDER / trial / SCORE_FILE
        if path.is_file():
            return self._finished(path, data)
        began = time.monotonic()
        run = self.opened(trial, settings, after_epoch)
        try:
            validated = self.task.validate(run.settings, data, run)
        except KeyboardInterrupt as exc:
            raise self._stopped(trial) from exc
        if validated.fit.interrupted:
            raise self._stopped(trial)
        self._seconds.append(time.monotonic() - began)
        score = self._keep(trial, validated, data)
        self.drop_weights(trial)
        return score

    def end(self) -> None:
        """Remove what only the trainings of the experiment could share: features of images."""
        shutil.rmtree(self.folder / TRIALS_FOLDER / "features", ignore_errors=True)

    def drop_weights(self, trial: str) -> None:
        """Remove the checkpoints of a trial, which is measured, not used."""
        for checkpoint in (self.folder / TRIALS_FOLDER / trial).rglob("*.ckpt"):
            checkpoint.unlink()

    def tell_left(self, trials: int) -> None:
        """Say about how long so many trials take."""
        if self._seconds and trials:
            minutes, seconds = divmod(round(trials * sum(self._seconds) / len(self._seconds)), 60)
            self.say(f"about {minutes}:{seconds:02} minutes left")

    def write_table(self, name: str, rows: Iterable[Mapping[str, object]]) -> Path:
        """Write a CSV file to the folder, whole or not at all."""
        return write_csv(self.folder / name, list(rows))

    def _finished(self, path: Path, data: Any) -> Score:
        score = Score(**json.loads(path.read_text(encoding="utf-8")))
        if score.data_sha256 != (now := self.task.sha256(data)):
            raise DataError(
                f"the data are not those that {score.trial} in {self.folder} was trained on: sha256 {now[:12]}, then "
                f"{score.data_sha256[:12]}; begin a new experiment"
            )
        return score

    def _keep(self, trial: str, validated: Validated, data: Any) -> Score:
        fit = validated.fit
        score = Score(trial, validated.metrics, fit.best_epoch, fit.epochs, fit.seconds, self.task.sha256(data))
        folder = self.folder / TRIALS_FOLDER / trial
        write_csv(folder / ANSWERS_FILE, validated.answers)
        write_whole(folder / SCORE_FILE, json.dumps(asdict(score), indent=2))
        return score

    def _stopped(self, trial: str) -> StoppedError:
        return StoppedError(f"stopped in {trial}; nothing is lost: go on with --resume {shlex.quote(str(self.folder))}")


def _check_folder(folder: Path) -> None:
    """Raise SettingsError if it is not the folder of an experiment."""
    if not (folder / SETTINGS_FILE).is_file():
        raise SettingsError(f"{folder} is not the folder of an experiment")
    if folder.resolve().parents[1].name == TRIALS_FOLDER:
        raise SettingsError(f"{folder} is one training of an experiment; give {folder.parents[2]}")
    if (folder / MANIFEST_FILE).is_file():
        raise SettingsError(f"{folder} is the folder of a training, not of an experiment")


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows with a header, that of the first one, whole or not at all."""
    names = list(rows[0]) if rows else []
    write_rows(path, [names, *([row.get(name, "") for name in names] for row in rows)])
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of such a file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
