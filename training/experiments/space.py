"""The search space of a hyper-parameter search, and how people write it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import optuna
import yaml
from pydantic import ValidationError

from training.errors import SettingsError
from training.experiments.ingredients import check_setting, problem_of, read_value
from training.settings import RunSettings
from training.settings.experiments import SearchSettings

_RANGE = re.compile(r"(?P<low>[^.:]+(?:\.\d+)?[^.:]*)\.\.(?P<high>[^:]+?)(?::(?P<how>.+))?")
_ROUNDING = 1e-9
_FORMS = "LOW..HIGH, LOW..HIGH:log, LOW..HIGH:STEP or A,B,C"


@dataclass(frozen=True)
class Range:
    """A setting between two numbers, both included."""

    name: str
    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    def suggest(self, trial: optuna.Trial) -> object:
        """A value to try."""
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def bounds(self) -> list[object]:
        """Values that must be possible."""
        return [int(self.low), int(self.high)] if self.whole else [self.low, self.high]

    def holds(self, value: object) -> bool:
        """Whether a value lies in the range."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < _ROUNDING


@dataclass(frozen=True)
class Choice:
    """A setting that is one of several values."""

    name: str
    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial) -> object:
        """A value to try."""
        return trial.suggest_categorical(self.name, self.values)

    def bounds(self) -> list[object]:
        """Values that must be possible."""
        return list(self.values)

    def holds(self, value: object) -> bool:
        """Whether a value is among them."""
        return value in self.values


Dimension = Range | Choice


def read_space(settings: SearchSettings, kind: type[RunSettings]) -> tuple[Dimension, ...]:
    """The dimensions of `--space` and `--search`; of a setting that both have, the latter.

    Raises:
        SettingsError: there are none, or one cannot be understood, or names a value that the setting cannot have.
    """
    texts: dict[str, object] = dict(_of_file(settings.space) if settings.space else {})
    for item in settings.search:
        name, given, text = item.partition("=")
        texts[name.strip()] = text.strip() if given else None
    if not texts:
        raise SettingsError(f"nothing to search: give --search SETTING=VALUES (VALUES: {_FORMS}), or --space FILE")
    dimensions = tuple(_dimension(name.replace("-", "_"), values, kind) for name, values in texts.items())
    return tuple(_checked(dimension, settings, kind) for dimension in dimensions)


def _of_file(path: Path) -> Mapping[str, object]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise SettingsError(f"the search space {path} cannot be read: {' '.join(str(exc).split())}") from exc
    if not isinstance(content, Mapping):
        raise SettingsError(f"the search space {path} holds no `setting: values` lines; values are {_FORMS}")
    return {str(name): values for name, values in content.items()}


def _dimension(name: str, values: object, kind: type[RunSettings]) -> Dimension:
    check_setting(name, kind)
    annotation = kind.model_fields[name].annotation
    kinds = {annotation, *get_args(annotation)}
    if values is None:
        if bool not in kinds:
            raise SettingsError(f"{name} is searched over which values? Write {name}= and {_FORMS}")
        return Choice(name, (False, True))
    if isinstance(values, Sequence) and not isinstance(values, str):
        return _choice(name, list(values))
    text = str(values)
    if match := _RANGE.fullmatch(text):
        if not kinds & {int, float}:
            raise SettingsError(f"{name} is no number; give its values as A,B,C instead of {text}")
        return _range(name, text, match, whole=float not in kinds)
    return _choice(name, [read_value(part) for part in text.split(",")])


def _choice(name: str, values: list[Any]) -> Choice:
    if len(values) < 2:
        raise SettingsError(f"{name}={values[0] if values else ''} is one value; give {_FORMS}")
    if not all(value is None or isinstance(value, bool | int | float | str) for value in values):
        raise SettingsError(f"{name} is searched over plain values only")
    return Choice(name, tuple(values))


def _range(name: str, text: str, match: re.Match[str], *, whole: bool) -> Range:
    how = (match["how"] or "").strip()
    try:
        low, high = float(match["low"]), float(match["high"])
        step = float(how) if how and how != "log" else None
    except ValueError as exc:
        raise SettingsError(f"{name}={text} is not understood; write {_FORMS}") from exc
    if not low < high or (how == "log" and low <= 0) or (step is not None and step <= 0):
        raise SettingsError(f"{name}={text} is empty; the first number must be the smaller one, with log over 0")
    if whole and not all(value.is_integer() for value in (low, high, step or 1.0)):
        raise SettingsError(f"{name}={text}: {name} is a whole number")
    if step is not None:
        high = low + step * math.floor((high - low) / step + _ROUNDING)  # the last step within the range
    return Range(name, low, high, step, how == "log", whole)


def _checked(dimension: Dimension, settings: SearchSettings, kind: type[RunSettings]) -> Dimension:
    """The dimension with its values as the settings have them: `1e-3` is a number."""
    values = [_possible(settings, kind, dimension.name, value) for value in dimension.bounds()]
    return Choice(dimension.name, tuple(values)) if isinstance(dimension, Choice) else dimension


def _possible(settings: SearchSettings, kind: type[RunSettings], name: str, value: object) -> object:
    try:
        understood = getattr(settings.of_run(kind, **{name: value}), name)
    except ValidationError as exc:
        if exc.errors()[0]["loc"]:
            raise SettingsError(f"--search {name}: {value} is impossible: {problem_of(exc)}") from exc
        return value  # it depends on other settings, and shows when it is tried
    return understood if isinstance(understood, bool | int | float) else value
