"""Tables of readings: cutting the window that a graph takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.calendar import PERIODS, calendar_column
from zoo.card import SeriesTask
from zoo.errors import InputError


def prepare_history(columns: Mapping[str, ArrayLike], task: SeriesTask) -> NDArray[np.float32]:
    """Order the columns as the graph wants them and keep the newest `window_steps` rows: float32 [window, features].

    Raises:
        InputError: a column is missing, unknown, too short, of another length than the others, or not finite.
    """
    _check_columns(columns, [feature.name for feature in task.features])
    arrays = [np.asarray(columns[feature.name], np.float32) for feature in task.features]
    lengths = {feature.name: len(array) for feature, array in zip(task.features, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        raise InputError(
            "SERIES_LENGTHS_DIFFER", f"the columns differ in length: {_listed(lengths)}; send equal lengths"
        )
    rows = len(arrays[0])
    if rows < task.window_steps:
        raise InputError(
            "SERIES_TOO_SHORT", f"the history has {rows} rows, the model needs {task.window_steps}; send more past rows"
        )
    history = np.stack([array[-task.window_steps :] for array in arrays], axis=1)
    if not np.isfinite(history).all():
        row, column = (int(index) for index in np.argwhere(~np.isfinite(history))[0])
        raise InputError(
            "SERIES_NOT_FINITE",
            f"{task.features[column].name}[{rows - task.window_steps + row}] is {history[row, column]}; "
            "fill missing values before sending",
        )
    return history


def add_calendar(
    columns: Mapping[str, ArrayLike], task: SeriesTask, end_seconds: float | None
) -> Mapping[str, ArrayLike]:
    """Add the columns of the calendar that the model reads and the caller did not send.

    Args:
        columns: as sent.
        task: of the model.
        end_seconds: time of the newest row, in seconds since 1970; None: unknown.

    Raises:
        InputError: SERIES_TIME_MISSING.
    """
    wanted = [item.name for item in task.features if item.name in PERIODS and item.name not in columns]
    if not wanted:
        return columns
    if end_seconds is None:
        text = f"the model reads {wanted[0]!r}; send the time of the newest row, or a column of that name"
        raise InputError("SERIES_TIME_MISSING", text)
    rows = max((len(np.atleast_1d(column)) for column in columns.values()), default=0)
    stamps = end_seconds - task.step_seconds * np.arange(rows - 1, -1, -1.0)
    return {**columns, **{name: calendar_column(name, stamps) for name in wanted}}


def _check_columns(columns: Mapping[str, object], features: list[str]) -> None:
    wanted = f"the model reads {', '.join(map(repr, features))}"
    for name in features:
        if name not in columns:
            raise InputError("SERIES_COLUMN_MISSING", f"no column {name!r}; {wanted}")
    for name in columns:
        if name not in features:
            raise InputError("SERIES_COLUMN_UNKNOWN", f"the column {name!r} is not wanted; {wanted}")


def _listed(lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {length}" for name, length in lengths.items())
