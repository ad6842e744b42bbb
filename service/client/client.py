"""A typed client: what you have in, predictions out.

with Client("127.0.0.1:8001") as client:
    (answer,) = client.classify_texts("sentiment-en", ["What a lovely surprise"])
    print(answer.classes[0].label, answer.classes[0].probability)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import ArrayLike

from menagerie.v1 import (
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)
from service.client.connection import Credentials
from service.client.errors import translate

Item = TypeVar("Item")


@dataclass(frozen=True)
class ClassScore:
    """A class and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Classification:
    """The classes of one image or text, best first, and the model that named them."""

    model: str
    version: int
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True)
class History:
    """A table of past readings, oldest first: column name to values, and the time of the newest row if it is known."""

    columns: Mapping[str, ArrayLike]
    end_time: datetime | None = None


@dataclass(frozen=True)
class Reading:
    """One row of a table: value by column, and its time if it is known."""

    values: Mapping[str, float]
    time: datetime | None = None


@dataclass(frozen=True)
class Forecast:
    """Future values by target, nearest first; `times` is empty where the history had no `end_time`."""

    model: str
    version: int
    times: tuple[datetime, ...]
    values: Mapping[str, tuple[float, ...]]
    lower: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Lower ends of the prediction intervals; empty where the model has none."""
    upper: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Upper ends."""
    coverage: float = 0.0
    """Share of the future values that should lie between them."""


class Client:
    """A connection to a Menagerie server; threads may share it.

    Every call raises `PredictionError` where the server refuses or fails it.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8001",
        *,
        timeout_seconds: float = 60.0,
        credentials: Credentials | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            address: HOST:PORT.
            timeout_seconds: every call is given up after this.
            credentials: TLS and a token; None: plain text, without one.

        Raises:
            UsageError: a file of the credentials cannot be read.
        """
        credentials = credentials or Credentials()
        self.address = address
        self._timeout_seconds = timeout_seconds
        self._metadata = credentials.metadata
        self._channel = credentials.channel(address)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def classify_images(
        self, model: str, images: Sequence[bytes], *, version: int = 0, top_k: int = 5
    ) -> list[Classification]:
        """Classify encoded image files (JPEG, PNG, WebP, GIF, BMP, TIFF); version 0 is the newest."""
        request = prediction_service_pb2.ClassifyImagesRequest(
            model=model_pb2.ModelRef(name=model, version=version), images=images, top_k=top_k
        )
        response = self._call(self._predictions.ClassifyImages, request)
        return [_classification(response.model, result) for result in response.results]

    def classify_texts(
        self, model: str, texts: Sequence[str], *, version: int = 0, top_k: int = 5
    ) -> list[Classification]:
        """Classify texts; version 0 is the newest."""
        request = prediction_service_pb2.ClassifyTextsRequest(
            model=model_pb2.ModelRef(name=model, version=version), texts=texts, top_k=top_k
        )
        response = self._call(self._predictions.ClassifyTexts, request)
        return [_classification(response.model, result) for result in response.results]

    def forecast(self, model: str, histories: Sequence[History], *, version: int = 0) -> list[Forecast]:
        """Forecast the continuation of tables of readings; version 0 is the newest."""
        request = prediction_service_pb2.ForecastRequest(
            model=model_pb2.ModelRef(name=model, version=version), histories=map(_history, histories)
        )
        response = self._call(self._predictions.Forecast, request)
        return [_forecast(response.model, result) for result in response.results]

    def forecast_stream(
        self, model: str, readings: Iterable[Reading], *, version: int = 0
    ) -> Iterator[Forecast | None]:
        """Forecast after each row as it comes; None while the model needs more rows. Version 0 is the newest.

        The server keeps what the model has seen until `readings` end or the iteration does; it may last for ever.
        What `readings` raise is raised here, after the forecasts for the rows before.
        """
        failures: list[Exception] = []
        messages = _until_failure(_stream(model_pb2.ModelRef(name=model, version=version), readings), failures)
        call = self._predictions.ForecastStream(messages, metadata=self._metadata)
        try:
            for response in call:
                yield _forecast(response.model, response.forecast) if response.HasField("forecast") else None
        except grpc.RpcError as exc:
            raise translate(exc, self.address) from exc
        finally:
            call.cancel()
        if failures:
            raise failures[0]

    def list_models(self) -> list[model_pb2.ModelSummary]:
        """List what the server has, ready or not."""
        return list(self._call(self._models.ListModels, model_service_pb2.ListModelsRequest()).models)

    def get_model(self, model: str, *, version: int = 0) -> model_pb2.ModelDescription:
        """Describe a model: labels, features, metrics, licence, provenance."""
        request = model_service_pb2.GetModelRequest(model=model_pb2.ModelRef(name=model, version=version))
        response: model_service_pb2.GetModelResponse = self._call(self._models.GetModel, request)
        return response.model

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Any], request: object) -> Any:
        try:
            return method(request, timeout=self._timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as exc:
            raise translate(exc, self.address) from exc


def _classification(model: model_pb2.ModelRef, result: prediction_service_pb2.Classification) -> Classification:
    classes = tuple(ClassScore(item.label, item.index, item.probability) for item in result.classes)
    return Classification(model.name, model.version, classes)


def _history(history: History) -> prediction_service_pb2.History:
    columns = [
        prediction_service_pb2.Column(name=name, values=values)  # type: ignore[arg-type]  # any iterable of floats
        for name, values in history.columns.items()
    ]
    message = prediction_service_pb2.History(columns=columns)
    if history.end_time is not None:
        message.end_time.CopyFrom(_timestamp(history.end_time))
    return message


def _stream(
    model: model_pb2.ModelRef, readings: Iterable[Reading]
) -> Iterator[prediction_service_pb2.ForecastStreamRequest]:
    """The model first, then one message a row."""
    yield prediction_service_pb2.ForecastStreamRequest(model=model)
    for reading in readings:
        time = None if reading.time is None else _timestamp(reading.time)
        row = prediction_service_pb2.Reading(values=reading.values, time=time)
        yield prediction_service_pb2.ForecastStreamRequest(reading=row)


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """The items up to an error, which is put aside: gRPC, which iterates, would say only that there was one."""
    try:
        yield from items
    except Exception as exc:
        failures.append(exc)


def _timestamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _forecast(model: model_pb2.ModelRef, result: prediction_service_pb2.ForecastTable) -> Forecast:
    times = tuple(stamp.ToDatetime(UTC) for stamp in result.times)
    values, lower, upper = (
        {item.name: tuple(item.values) for item in columns} for columns in (result.columns, result.lower, result.upper)
    )
    return Forecast(model.name, model.version, times, values, lower, upper, round(result.coverage, 6))
