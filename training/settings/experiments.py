"""Settings of experiments: many trainings that are compared on validation parts and publish nothing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import Field, model_validator

from training.settings.base import Settings
from training.settings.image import ImageSettings
from training.settings.run import RunSettings
from training.settings.series import SeriesSettings
from training.settings.text import TextSettings

_OF_THE_FILE = frozenset({"output", "version", "description", "licence", "unit", "language", "from_model"})
_OF_THE_GRAPH = frozenset({"quantize", "calibrate", "tta", "cam", "coverage"})
_OF_THE_TEST = frozenset({"baselines"})
"""Settings of what comes after a training: experiments publish nothing, and do not look at the test part."""

AnyRun = TypeVar("AnyRun", bound=RunSettings)


class ExperimentSettings(Settings):
    """What all experiments have; a class for each task adds the settings of its runs."""

    help_panel: ClassVar[str] = "Experiment"
    hidden: ClassVar[frozenset[str]] = _OF_THE_FILE | _OF_THE_GRAPH | _OF_THE_TEST

    output: Path = Path("models")
    """Not used: an experiment publishes nothing."""
    name: str = "experiment"
    """Name of the experiment's folder, RUNS/NAME/TIME."""
    resume: Path | None = None
    """Folder of an experiment that was interrupted; what is finished there is not done again."""

    @model_validator(mode="after")
    def _starts_anew(self) -> ExperimentSettings:
        if getattr(self, "from_model", None) is not None:
            raise ValueError("an experiment trains from new weights; leave out from_model")
        return self

    def of_run(self, kind: type[AnyRun], **changes: object) -> AnyRun:
        """The settings of one training."""
        values = self.model_dump(include=set(kind.model_fields) - {"resume"})
        return kind.model_validate(values | changes)


class FoldSettings(ExperimentSettings):
    """Settings of `python -m training kfold`."""

    help_panel: ClassVar[str] = "Folds"

    folds: int = Field(default=5, ge=2, le=100)
    """Trainings; each leaves out another part of the data to be validated on."""
    name: str = "kfold"
    """Name of the experiment's folder, RUNS/NAME/TIME."""


class ImageFoldSettings(FoldSettings, ImageSettings):
    """Settings of `python -m training kfold image`."""


class TextFoldSettings(FoldSettings, TextSettings):
    """Settings of `python -m training kfold text`."""


class SeriesFoldSettings(FoldSettings, SeriesSettings):
    """Settings of `python -m training kfold series`."""


class AblationSettings(ExperimentSettings):
    """Settings of `python -m training ablate`."""

    help_panel: ClassVar[str] = "Ablation"

    without: list[str] = Field(min_length=1)
    """What to leave out, one at a time; repeat the option for several. SETTING becomes what stands for nothing (no,
    none, 0); SETTING=VALUE says what takes its place; several joined by + are left out together: flip+rotate."""
    seeds: int = Field(default=3, ge=1, le=100)
    """Trainings of each kind, with seeds one after another from that of the settings; all have the split of the
    first."""
    name: str = "ablate"
    """Name of the experiment's folder, RUNS/NAME/TIME."""


class ImageAblationSettings(AblationSettings, ImageSettings):
    """Settings of `python -m training ablate image`."""


class TextAblationSettings(AblationSettings, TextSettings):
    """Settings of `python -m training ablate text`."""


class SeriesAblationSettings(AblationSettings, SeriesSettings):
    """Settings of `python -m training ablate series`."""


class SearchSettings(ExperimentSettings):
    """Settings of `python -m training tune`."""

    help_panel: ClassVar[str] = "Search"
    changed_by_resume: ClassVar[frozenset[str]] = frozenset({"trials", "hours"})

    search: list[str] = Field(default=[])
    """A setting to search, and its values: SETTING=LOW..HIGH, SETTING=LOW..HIGH:log, SETTING=LOW..HIGH:STEP or
    SETTING=A,B,C; of yes and no just SETTING; repeat the option for several."""
    space: Path | None = None
    """YAML file with the same, one `setting: values` per line."""
    trials: int = Field(default=30, ge=1)
    """Trainings in all, those given up early included; may be raised with --resume."""
    hours: float | None = Field(default=None, gt=0)
    """Begin no more trainings after so many hours."""
    pruning: bool = True
    """Give a training up when its score is worse than the median of the earlier ones at the same epoch."""
    startup_trials: int = Field(default=5, ge=1)
    """Trainings that are never given up, at the beginning."""
    startup_epochs: int = Field(default=2, ge=0)
    """Epochs before a training may be given up."""
    name: str = "tune"
    """Name of the experiment's folder, RUNS/NAME/TIME."""


class ImageSearchSettings(SearchSettings, ImageSettings):
    """Settings of `python -m training tune image`."""


class TextSearchSettings(SearchSettings, TextSettings):
    """Settings of `python -m training tune text`."""


class SeriesSearchSettings(SearchSettings, SeriesSettings):
    """Settings of `python -m training tune series`."""
