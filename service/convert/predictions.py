"""The typed API: requests to what a served model takes, what it gives to responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import ArrayLike, NDArray

from menagerie.v1 import model_pb2, prediction_service_pb2
from service.convert.best_classes import best_classes
from service.errors import RequestError
from service.models.typed import Table
from zoo.card import SeriesTask
from zoo.errors import InputError
from zoo.series import add_calendar, prepare_history

DEFAULT_TOP_K = 5
_VALUES_AT_A_TIME = 10_000


def check_items(field: str, count: int, limit: int) -> None:
    """Refuse a request without items, or with too many.

    Raises:
        RequestError: NO_ITEMS, TOO_MANY_ITEMS.
    """
    if count == 0:
        raise RequestError(field, f"{field} is empty; send 1 to {limit} of them", reason="NO_ITEMS")
    if count > limit:
        text = f"{field} has {count} items, the limit is {limit}; spread them over several requests"
        raise RequestError(field, text, reason="TOO_MANY_ITEMS", metadata={"items": count, "limit": limit})


def check_model(model: model_pb2.ModelRef) -> None:
    """Refuse a reference without a name, or with a negative version.

    Raises:
        RequestError: MODEL_NAME_MISSING, INVALID_VERSION.
    """
    if not model.name:
        text = "model.name is empty; ModelService.ListModels lists the models of the server"
        raise RequestError("model.name", text, reason="MODEL_NAME_MISSING")
    if model.version < 0:
        text = f"model.version is {model.version}; send a positive number, or 0 for the highest that is ready"
        raise RequestError("model.version", text, reason="INVALID_VERSION")


def check_top_k(top_k: int) -> int:
    """The number of classes to return.

    Raises:
        RequestError: INVALID_TOP_K.
    """
    if top_k < 0:
        text = f"top_k is {top_k}; send a positive number, or 0 for {DEFAULT_TOP_K}"
        raise RequestError("top_k", text, reason="INVALID_TOP_K")
    return top_k or DEFAULT_TOP_K


def classifications(
    probabilities_NK: NDArray[np.float32], labels: Sequence[str], top_k: int
) -> list[prediction_service_pb2.Classification]:
    """The best `top_k` classes of each row; of equal ones, the lower index first."""
    best_NT = best_classes(probabilities_NK, top_k)
    probabilities_NT = np.take_along_axis(probabilities_NK, best_NT, axis=1)
    return [
        prediction_service_pb2.Classification(
            classes=[
                prediction_service_pb2.ClassScore(label=labels[index], index=index, probability=probability)
                for index, probability in zip(indices, probabilities, strict=True)
            ]
        )
        for indices, probabilities in zip(best_NT.tolist(), probabilities_NT.tolist(), strict=True)
    ]


def history_tables(histories: Sequence[prediction_service_pb2.History], task: SeriesTask) -> list[Table]:
    """Each table, to be read later and elsewhere."""
    return [
        Table(sum(len(column.values) for column in history.columns), partial(_columns, history, task))
        for history in histories
    ]


def check_end_times(histories: Sequence[prediction_service_pb2.History], task: SeriesTask) -> None:
    """Refuse times that are no times, or whose forecast would not be.

    Raises:
        RequestError: INVALID_TIME.
    """
    for index, history in enumerate(histories):
        if history.HasField("end_time"):
            _check_time(f"histories[{index}].end_time", history.end_time, task)


def forecast_tables(
    forecast_NHT: NDArray[np.float32], task: SeriesTask, histories: Sequence[prediction_service_pb2.History]
) -> list[prediction_service_pb2.ForecastTable]:
    """One table a history: with times where the history has one, with intervals where the model has them."""
    tables = [
        prediction_service_pb2.ForecastTable(columns=_forecast_columns(values_HT, task), times=_times(history, task))
        for values_HT, history in zip(forecast_NHT, histories, strict=True)
    ]
    if task.interval:
        half_widths_HT = np.array(task.interval.half_widths, np.float32)
        for table, values_HT in zip(tables, forecast_NHT, strict=True):
            table.lower.extend(_forecast_columns(values_HT - half_widths_HT, task))
            table.upper.extend(_forecast_columns(values_HT + half_widths_HT, task))
            table.coverage = task.interval.coverage
    return tables


def read_reading(reading: prediction_service_pb2.Reading, task: SeriesTask) -> NDArray[np.float32]:
    """The values of a row, in the order of the model's features: float32 [features].

    Raises:
        RequestError: a feature is missing, unknown or not finite, or the time is none.
    """
    time = reading.HasField("time")
    if time:
        _check_time("reading.time", reading.time, task)
    columns = {name: np.array([value], np.float32) for name, value in reading.values.items()}
    try:
        known = add_calendar(columns, task, reading.time.ToNanoseconds() / 1e9 if time else None)
        row: NDArray[np.float32] = prepare_history(known, task.model_copy(update={"window_steps": 1}))[0]
    except InputError as exc:
        raise RequestError("reading.values", str(exc), reason=exc.reason) from exc
    return row


def forecast_after(
    forecast_HT: NDArray[np.float32], task: SeriesTask, reading: prediction_service_pb2.Reading
) -> prediction_service_pb2.ForecastTable:
    """The table after a row, with times where the row has one."""
    end_time = reading.time if reading.HasField("time") else None
    (table,) = forecast_tables(forecast_HT[None], task, [prediction_service_pb2.History(end_time=end_time)])
    return table


def timestamp(time: datetime) -> Timestamp:
    """A time on the wire; without a zone it is UTC."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _check_time(field: str, time: Timestamp, task: SeriesTask) -> None:
    try:
        time.ToDatetime(UTC) + timedelta(seconds=task.step_seconds * task.horizon_steps)
    except (ValueError, OverflowError) as exc:
        text = f"{field} is {time.seconds} s; send a time from year 1 to 9999, or leave it out"
        raise RequestError(field, text, reason="INVALID_TIME") from exc


def _columns(history: prediction_service_pb2.History, task: SeriesTask) -> Mapping[str, ArrayLike]:
    columns: dict[str, ArrayLike] = {}
    for column in history.columns:
        if column.name in columns:
            raise InputError("SERIES_COLUMN_DUPLICATE", f"the column {column.name!r} is there twice; send it once")
        columns[column.name] = read_values(column.values)
    return add_calendar(columns, task, history.end_time.ToNanoseconds() / 1e9 if history.HasField("end_time") else None)


def read_values(values: Sequence[float]) -> NDArray[np.float32]:
    """The repeated numbers of a message. A piece at a time: numpy keeps Python's lock until it has read all that it is
    given, so that nobody else would go on meanwhile, in whatever thread this is: 80 ms for a million."""
    found = np.empty(len(values), np.float32)
    for start in range(0, len(values), _VALUES_AT_A_TIME):
        piece = slice(start, start + _VALUES_AT_A_TIME)
        found[piece] = values[piece]
    return found


def _forecast_columns(values_HT: NDArray[np.float32], task: SeriesTask) -> list[prediction_service_pb2.Column]:
    return [
        prediction_service_pb2.Column(name=target.name, values=values_HT[:, index])
        for index, target in enumerate(task.targets)
    ]


def _times(history: prediction_service_pb2.History, task: SeriesTask) -> list[Timestamp]:
    if not history.HasField("end_time"):
        return []
    end = history.end_time
    steps = range(1, task.horizon_steps + 1)
    return [Timestamp(seconds=end.seconds + step * task.step_seconds, nanos=end.nanos) for step in steps]
