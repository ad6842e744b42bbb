"""Settings as a YAML file: what `--config` reads and what a run folder keeps."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import yaml

from training.errors import SettingsError
from training.files import write_whole
from training.settings import Settings

SETTINGS_FILE = "settings.yaml"


def read_values(path: Path, model: type[Settings]) -> dict[str, Any]:
    """The values in a file; keys are the names of the options, with `-` or `_`.

    Raises:
        SettingsError: the file cannot be read, or has a key that `model` does not know.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"the config file {path} cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise SettingsError(f"the config file {path} is not YAML: {' '.join(str(exc).split())}") from exc
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise SettingsError(
            f"the config file {path} holds a {type(content).__name__}; write one `name: value` per line"
        )
    values = {str(key).replace("-", "_"): value for key, value in content.items()}
    for key in values:
        if key not in model.model_fields:
            raise SettingsError(f"the config file {path} has the unknown key {key!r}; {_nearest(key, model)}")
    return {key: _listed(value, model, key) for key, value in values.items()}


def write_settings(path: Path, settings: Settings) -> None:
    """Write all settings, so that `--config` with this file repeats the run."""
    values = settings.model_dump(mode="json", exclude={"resume"})
    write_whole(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _nearest(key: str, model: type[Settings]) -> str:
    near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(model.model_fields)}"


def _listed(value: Any, model: type[Settings], key: str) -> Any:
    """A single value where a list is wanted, as a list."""
    wants_list = get_origin(model.model_fields[key].annotation) is list
    return [value] if wants_list and not isinstance(value, list) else value
