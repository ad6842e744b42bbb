"""Limits that a model must keep, in a file, for pipelines that publish by themselves."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError, model_validator

from training.errors import SettingsError
from training.settings.base import Settings

_HIGHER_IS_BETTER = ("accuracy", "macro_f1", "interval_coverage")
"""Or names that begin so; of all other figures lower is better."""
_AGAINST = "against"


class Limit(Settings):
    """What a figure must keep."""

    at_least: float | None = None
    at_most: float | None = None
    worse_by_at_most: float | None = None
    """Than the model that it is measured against, as a difference."""

    @model_validator(mode="after")
    def _says_something(self) -> Limit:
        if not self.model_fields_set:
            raise ValueError("give at_least, at_most or worse_by_at_most")
        return self


@dataclass(frozen=True)
class Limits:
    """All of a file."""

    limits: Mapping[str, Limit]
    """By the name of the figure."""
    against: Path | None = None
    """Another model, to be measured on the same items."""


class Check(NamedTuple):
    """A limit and what was measured."""

    figure: str
    measured: float
    limit: str
    """In words."""
    passed: bool


def read_limits(path: Path) -> Limits:
    """Read a YAML or TOML file: figures by name, each with `at_least`, `at_most` or `worse_by_at_most`.

    Raises:
        SettingsError: it cannot be read or understood; the text names file and figure.
    """
    values = _read(path)
    against = values.pop(_AGAINST, None)
    if against is not None and not isinstance(against, str):
        raise SettingsError(f"{path}, {_AGAINST}: {against!r} is not the path of a model")
    limits = {str(name): _limit(path, str(name), value) for name, value in values.items()}
    if not limits:
        raise SettingsError(f"{path} has no limit; write for example `accuracy: {{at_least: 0.9}}`")
    return Limits(limits, None if against is None else Path(against))


def check_limits(limits: Limits, figures: Mapping[str, float], other: Mapping[str, float] | None) -> list[Check]:
    """Compare figures with their limits.

    Args:
        limits: of the figures.
        figures: of the model.
        other: of the one that it is measured against, if any.

    Raises:
        SettingsError: there is no such figure, or no other model.
    """
    checks = []
    for name, limit in limits.limits.items():
        if name not in figures:
            raise SettingsError(f"the limits name {name!r}, which was not measured; there are {', '.join(figures)}")
        value = figures[name]
        if limit.at_least is not None:
            checks.append(Check(name, value, f"at least {limit.at_least:g}", value >= limit.at_least))
        if limit.at_most is not None:
            checks.append(Check(name, value, f"at most {limit.at_most:g}", value <= limit.at_most))
        if limit.worse_by_at_most is not None:
            checks.append(_against(name, value, limit.worse_by_at_most, other))
    return checks


def _against(name: str, value: float, most: float, other: Mapping[str, float] | None) -> Check:
    if other is None or name not in other:
        raise SettingsError(
            f"{name} may be worse by {most:g} at most, but than which model? name it with --against, or in the file "
            f"with `{_AGAINST}: PATH`"
        )
    loss = other[name] - value if name.startswith(_HIGHER_IS_BETTER) else value - other[name]
    return Check(name, value, f"worse than {other[name]:.5g} by {most:g} at most", loss <= most)


def _limit(path: Path, name: str, value: object) -> Limit:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}, {name}: {value!r} is no limit; write `{name}: {{at_least: NUMBER}}` or at_most")
    try:
        return Limit.model_validate(dict(value))
    except ValidationError as exc:
        error = exc.errors()[0]
        where = ".".join([name, *map(str, error["loc"])])
        raise SettingsError(f"{path}, {where}: {error['msg'].removeprefix('Value error, ')}") from exc


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"the file of limits {path} cannot be read: {exc}") from exc
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as exc:
        raise SettingsError(
            f"the file of limits {path} is neither YAML nor TOML: {' '.join(str(exc).split())}"
        ) from exc
    if not isinstance(values, Mapping):
        raise SettingsError(f"the file of limits {path} has no figures by name; write `accuracy: {{at_least: 0.9}}`")
    return dict(values)
