"""menagerie.v1.PredictionService."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from menagerie.v1 import model_pb2, prediction_service_pb2_grpc
from menagerie.v1.prediction_service_pb2 import (
    ClassifyImagesRequest,
    ClassifyImagesResponse,
    ClassifyTextsRequest,
    ClassifyTextsResponse,
    ForecastRequest,
    ForecastResponse,
)
from service.convert import predictions
from service.model_table import ModelTable
from service.served_model import ServedModel
from service.servicers.context import announce, deadline_of
from zoo.card import SeriesTask


class PredictionServicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predictions of the three tasks."""

    def __init__(self, table: ModelTable, *, max_items: int) -> None:
        self._table = table
        self._max_items = max_items

    async def ClassifyImages(self, request: ClassifyImagesRequest, context: Any) -> ClassifyImagesResponse:  # noqa: N802
        """Classify encoded images."""
        with self._answering(request.model) as model:
            top_k = predictions.check_top_k(request.top_k)
            predictions.check_items("images", len(request.images), self._max_items)
            probabilities = await model.classify_images(request.images, deadline_of(context))
            with model.metrics.timed("encode"):
                results = predictions.classifications(probabilities, model.labels, top_k)
                return ClassifyImagesResponse(model=_reference(model), results=results)

    async def ClassifyTexts(self, request: ClassifyTextsRequest, context: Any) -> ClassifyTextsResponse:  # noqa: N802
        """Classify texts."""
        with self._answering(request.model) as model:
            top_k = predictions.check_top_k(request.top_k)
            predictions.check_items("texts", len(request.texts), self._max_items)
            probabilities = await model.classify_texts(request.texts, deadline_of(context))
            with model.metrics.timed("encode"):
                results = predictions.classifications(probabilities, model.labels, top_k)
                return ClassifyTextsResponse(model=_reference(model), results=results)

    async def Forecast(self, request: ForecastRequest, context: Any) -> ForecastResponse:  # noqa: N802
        """Forecast tables of readings."""
        with self._answering(request.model) as model:
            task = model.task(SeriesTask)
            predictions.check_items("histories", len(request.histories), self._max_items)
            predictions.check_end_times(request.histories, task)
            forecast = await model.forecast(predictions.column_readers(request.histories), deadline_of(context))
            with model.metrics.timed("encode"):
                results = predictions.forecast_tables(forecast, task, request.histories)
                return ForecastResponse(model=_reference(model), results=results)

    @contextmanager
    def _answering(self, reference: model_pb2.ModelRef) -> Iterator[ServedModel]:
        predictions.check_model(reference)
        model = announce(self._table.get(reference.name, reference.version))
        with model.metrics.request():
            yield model


def _reference(model: ServedModel) -> model_pb2.ModelRef:
    return model_pb2.ModelRef(name=model.name, version=model.version)
