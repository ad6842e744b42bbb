"""What a card says about the data of a model: how to read them, how they were split, how large their values are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError, SettingsError
from training.settings import RunSettings
from zoo.card import Card, ImageTask, SeriesTask

AnySettings = TypeVar("AnySettings", bound=RunSettings)
SPLIT_SETTINGS = ("seed", "split_seed", "group", "validation", "test", "validation_share", "test_share", "rows")
"""Which items are in which part of the same data."""
_READING = {
    *SPLIT_SETTINGS,
    *("skip_broken", "crop_to_boxes"),
    *("text_column", "label_column", "label_names"),
    *("window", "horizon", "time_column", "time_format", "step_seconds", "sentinels", "fill"),
}
"""All others may mean something else by now, or be gone."""


def settings_of(card: Card, kind: type[AnySettings], **own: object) -> AnySettings:
    """The settings of the run that made a model, as far as reading its data needs them; `own` go before them."""
    kept = _READING & kind.model_fields.keys()
    known = {name: value for name, value in card.provenance.settings.items() if name in kept}
    return kind.model_validate({**known, "output": Path(), "name": card.name, **own})


def split_of(card: Card) -> str:
    """How the data of a model were split, in words; the same words mean the same parts of the same data."""
    settings = card.provenance.settings
    names = ("validation", "test") if isinstance(card.task, ImageTask) else ("validation_share", "test_share")
    shares = ", ".join(f"{name} {settings.get(name)}" for name in names)
    if isinstance(card.task, SeriesTask):
        return f"{shares}, rows {settings.get('rows') or 'all'}"
    seed, group = settings.get("split_seed"), settings.get("group")
    grouped = f", group {group}" if group else ""
    return f"seed {card.provenance.seed if seed is None else seed}, {shares}{grouped}"


def same_data(card: Card, *hashes: str) -> bool:
    """Whether these are the data that a model was trained on.

    Args:
        card: of the model.
        hashes: of the data, as a card may have it.
    """
    return bool(card.provenance.data_sha256) and card.provenance.data_sha256 in hashes


def check_same_data(card: Card, same: bool, sha256: str) -> None:
    """Refuse other data, whose test part would not be what training left out.

    Raises:
        DataError: they are others.
    """
    if not same:
        raise DataError(
            f"these are not the data that {card.name!r} was trained on: sha256 {sha256[:12]}, the card has "
            f"{card.provenance.data_sha256[:12]}; their test part would not be what training left out"
        )


def target_std(card: Card) -> NDArray[np.float64]:
    """Standard deviation of each target of a forecaster over its training part, [targets]; 1 where a card has none."""
    assert isinstance(card.task, SeriesTask), "only forecasts have units. This is a bug."
    names = [target.name for target in card.task.targets]
    return np.array([card.reference[name].std if name in card.reference else 1.0 for name in names])


def one_path(data: Sequence[Path]) -> Path:
    """The only path that there is.

    Raises:
        SettingsError: there are several.
    """
    if len(data) != 1:
        raise SettingsError(f"the data of this model are one folder or file; {len(data)} were given")
    return data[0]
