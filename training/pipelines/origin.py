"""The run that a published model came from: its settings and weights, for a run that goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import SettingsError
from training.fit.checkpoints import BEST, CUT_SHORT
from training.fit.loop import RESULT_FILE
from training.runs import SETTINGS_FILE, TrainingRun, read_values
from training.settings import RunSettings
from zoo.card import Card, SeriesTask
from zoo.package import read_card
from zoo.repository import find_model

_OWN = frozenset(
    {
        "data",
        "validation_file",
        "rows",
        "output",
        "name",
        "version",
        "runs",
        "resume",
        "from_model",
        "workers",
        "device",
    }
)
"""Settings that are not those of the run before."""


@dataclass(frozen=True)
class Origin:
    """A published model and its run."""

    path: Path
    card: Card
    folder: Path
    """Of the run."""

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.path.parents[1].name} {self.path.parent.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Of a classifier."""
        return () if isinstance(self.card.task, SeriesTask) else self.card.task.labels

    @property
    def source(self) -> str:
        """For the card of a run that goes on."""
        return f"{self.label} ({self.card.provenance.run})"

    def weights(self) -> dict[str, Tensor]:
        """Those that were published."""
        file = weights_file(self.folder)
        try:
            state: dict[str, Tensor] = torch.load(file, weights_only=True, map_location="cpu")["state_dict"]
        except OSError as exc:
            raise SettingsError(f"the weights of {self.label} cannot be read: {file}: {exc.strerror}") from exc
        return state


def weights_file(folder: Path) -> Path:
    """The weights that a run published: of its best epoch, also where Ctrl-C cut that one short."""
    cut_short = folder / CUT_SHORT
    return cut_short if cut_short.is_file() and not (folder / RESULT_FILE).is_file() else folder / BEST


def find_origin(model: Path, runs: Path) -> Origin:
    """The run of a published model.

    Args:
        model: file or folder, see `zoo.repository.find_model`.
        runs: the folder of runs that it was trained in.

    Raises:
        SettingsError: it has no run, or that is not in `runs`.
        ZooError: there is no model.
    """
    path = find_model(model).resolve()
    card = read_card(path)
    if card is None or not card.provenance.run:
        raise SettingsError(f"{model} does not say which run it is from; only a model that a run published can go on")
    folder = runs / card.provenance.run
    if not (folder / SETTINGS_FILE).is_file():
        raise SettingsError(f"the run of {model} is not here: {folder}; name the folder of its runs with --runs")
    return Origin(path, card, folder)


def origin_of(run: TrainingRun) -> Origin | None:
    """What a run goes on from, if anything; it says so."""
    model = run.settings.from_model
    if model is None:
        return None
    origin = find_origin(model, run.settings.runs)
    run.say(f"going on from {origin.label}, {origin.folder}")
    return origin


def inherited_values(model: type[RunSettings], path: Path, runs: Path) -> dict[str, Any]:
    """The settings of the run of a published model, for one that goes on; it will publish the next version.

    Raises:
        SettingsError: as `find_origin`, or the model is of another task.
    """
    origin = find_origin(path, runs)
    if origin.card.task.kind != model.task_kind:
        raise SettingsError(f"{path} is for {origin.card.task.kind}, not for {model.task_kind}")
    values = read_values(origin.folder / SETTINGS_FILE, model)
    kept = {name: value for name, value in values.items() if name not in _OWN}
    return kept | {"output": origin.path.parents[2], "name": origin.path.parents[1].name, "from_model": origin.path}
