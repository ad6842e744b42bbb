"""What every run opens with: where it tells, where it writes, and its random numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from lightning.pytorch import seed_everything
from rich.console import Console

from training.errors import SettingsError
from training.files import check_repository
from training.processes import end_other_processes, is_first_process, join_processes, of_first_process
from training.runs.ledger import count_test_use, describe_uses
from training.runs.manifest import ManifestRow, check_manifest, write_manifest
from training.runs.settings_file import SETTINGS_FILE, write_settings
from training.saying import say
from training.settings import RunSettings
from zoo.repository import check_name

AfterEpoch = Callable[[Sequence[Mapping[str, float]]], None]
"""Told all epochs of a training after each of them, see `training.fit.fit`; it may raise to end the training."""


class TrainingRun:
    """A run, opened: its name can name a model and all random numbers come from its seed.

    Args:
        settings: of the run.
        console: for progress; default: standard error. Of several processes the first one tells.
        after_epoch: what is told the epochs of the training.

    Raises:
        RepositoryError: the name cannot name a model.
    """

    def __init__(
        self, settings: RunSettings, console: Console | None = None, after_epoch: AfterEpoch | None = None
    ) -> None:
        check_name(settings.name)
        join_processes()
        self.console = console or Console(stderr=True)
        if not is_first_process():
            self.console = Console(quiet=True)
        self.settings = settings
        self.after_epoch = after_epoch
        self.resumes = settings.resume is not None
        self._folder = settings.resume
        seed_everything(settings.seed, workers=True, verbose=False)

    @classmethod
    def to_publish(cls, settings: RunSettings, console: Console | None = None) -> TrainingRun:
        """A run at whose end a model is published.

        Raises:
            RepositoryError: the name cannot name a model.
            SettingsError: the repository cannot be written, or has the version already.
        """
        run = cls(settings, console)
        check_repository(settings.output, settings.name, settings.version)
        return run

    @property
    def folder(self) -> Path:
        """Where the run writes; from `begin` on."""
        assert self._folder is not None, "the run has not begun. This is a bug."
        return self._folder

    def begin(self, manifest: Sequence[ManifestRow]) -> Path:
        """Make the run folder with settings and split; of a resumed run, check that the data are the same.

        Raises:
            DataError: they are not.
        """
        if self._folder is not None:
            check_manifest(self._folder, manifest)
            return self._folder
        self._folder = of_first_process(
            make_run_folder(self.settings.runs, self.settings.name) if is_first_process() else Path()
        )
        if is_first_process():
            write_settings(self._folder / SETTINGS_FILE, self.settings)
            write_manifest(self._folder, manifest)
        return self._folder

    def end_training(self) -> None:
        """Of several processes, go on with the first one alone; the others end here.

        Raises:
            SystemExit: in the others.
        """
        end_other_processes()

    def look_at_test(self, data_sha256: str, split: str) -> int:
        """Count that the run is about to look at its test part, and say how often that has been done.

        Raises:
            SettingsError: the ledger cannot be written.
        """
        uses = count_test_use(self.settings.runs, data_sha256, split, run_name(self.folder))
        self.say(describe_uses(uses), style="" if uses == 1 else "yellow")
        return uses

    def say(self, *lines: str, style: str = "") -> None:
        """Print lines as they are."""
        for line in lines:
            say(self.console, line, style or None)


def run_name(folder: Path) -> str:
    """NAME/TIME of a run folder."""
    return "/".join(folder.resolve().parts[-2:])


def make_run_folder(runs: Path, name: str) -> Path:
    """A new folder `<runs>/<name>/<time>`, with a number behind it where two runs start in one second.

    Raises:
        SettingsError: it cannot be made.
    """
    base = runs / name / datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as exc:
            raise SettingsError(f"--runs {runs} cannot be written: {exc.strerror}; name another folder") from exc
        return folder
    raise AssertionError(f"1000 runs started in one second in {base.parent}. This is a bug.")
