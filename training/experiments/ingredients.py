"""What an ablation leaves out: settings, and what they are without it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError

from training.errors import SettingsError
from training.settings import RunSettings
from training.settings.experiments import ExperimentSettings

_FIXED = frozenset(
    {
        "data",
        "group",
        "seed",
        "split_seed",
        "test",
        "test_share",
        "validation",
        "validation_share",
        "validation_file",
        "target",
        "horizon",
        "rows",
        "monitor",
        "name",
        "runs",
        "resume",
        "device",
        "workers",
    }
)
"""Settings that say what is compared, by what, and where; seeds and shares decide which items are in which part."""


@dataclass(frozen=True)
class Ingredient:
    """Something that a way of training has."""

    name: str
    """As it was given, e.g. `flip+rotate` or `cell=rnn`; empty: nothing is left out."""
    without: Mapping[str, object]
    """The settings that leave it out."""

    @property
    def words(self) -> str:
        """What the trainings have."""
        return f"without {self.name}" if self.name else "everything"

    @property
    def trial(self) -> str:
        """Name of the trainings without it."""
        return "everything" if not self.name else "without-" + re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-")


def read_ingredient(text: str, settings: ExperimentSettings, kind: type[RunSettings]) -> Ingredient:
    """Understand `SETTING`, `SETTING=VALUE`, or several of them joined by `+`.

    A setting without a value becomes what stands for nothing: no, none, 0, an empty list.

    Raises:
        SettingsError: there is no such setting, it has nothing that stands for nothing, or it is left out already.
    """
    without: dict[str, object] = {}
    for part in text.split("+"):
        name, given, value = (piece.strip() for piece in part.partition("="))
        name = check_setting(name.replace("-", "_"), kind)
        without[name] = read_value(value) if given else _nothing(name, settings, kind)
    try:
        changed = settings.of_run(kind, **without)
    except ValidationError as exc:
        raise SettingsError(f"without {text}: {problem_of(exc)}") from exc
    if changed == settings.of_run(kind):
        raise SettingsError(f"without {text}: it is left out already; add it to the settings, or do not name it")
    return Ingredient(text, without)


def check_setting(name: str, kind: type[RunSettings]) -> str:
    """The name, if runs have such a setting.

    Raises:
        SettingsError: they do not, or it has to be the same in all of them.
    """
    if name in _FIXED:
        raise SettingsError(f"{name} is the same in all trainings of an experiment; it cannot be varied")
    if name in kind.model_fields and name not in ExperimentSettings.hidden:
        return name
    near = difflib.get_close_matches(name, kind.model_fields, n=1, cutoff=0.5)
    raise SettingsError(f"there is no setting {name!r}{f'; did you mean {near[0]}?' if near else ''}")


def read_value(text: str) -> Any:
    """A value as YAML writes it: 0.1, no, null, [a, b], word.

    Raises:
        SettingsError: it is none.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise SettingsError(f"the value {text} is not understood: {' '.join(str(exc).split())}") from exc


def problem_of(exc: ValidationError) -> str:
    """The first problem in one line."""
    first = exc.errors()[0]
    where = f"{first['loc'][0]}: " if first["loc"] else ""
    return f"{where}{first['msg'].removeprefix('Value error, ')}"


def _nothing(name: str, settings: ExperimentSettings, kind: type[RunSettings]) -> object:
    for candidate in _candidates(kind.model_fields[name].annotation):
        try:
            settings.of_run(kind, **{name: candidate})
        except ValidationError as exc:
            if not exc.errors()[0]["loc"]:  # the value is possible, but not with the other settings
                return candidate
            continue
        return candidate
    raise SettingsError(f"nothing stands for no {name}; say what takes its place: --without {name}=VALUE")


def _candidates(annotation: Any) -> Iterator[object]:
    """Values that may stand for nothing, the plainest first."""
    kinds = get_args(annotation) if get_origin(annotation) is not Literal else (annotation,)
    kinds = kinds if type(None) in kinds else (annotation,)
    for kind in kinds:
        if kind is bool:
            yield False
        elif kind in (int, float):
            yield 0
        elif kind is str:
            yield ""
        elif get_origin(kind) is list:
            yield []
        elif get_origin(kind) is Literal and "none" in get_args(kind):
            yield "none"
    if type(None) in kinds:
        yield None
