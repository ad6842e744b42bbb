"""menagerie.v1.PredictionService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from menagerie.v1 import model_pb2, prediction_service_pb2_grpc
from menagerie.v1.prediction_service_pb2 import (
    ClassifyImagesRequest,
    ClassifyImagesResponse,
    ClassifyTextsRequest,
    ClassifyTextsResponse,
    ForecastRequest,
    ForecastResponse,
    ForecastStreamRequest,
    ForecastStreamResponse,
)
from service.convert import predictions
from service.errors import RequestError
from service.models import typed
from service.models.model_table import ModelTable
from service.models.readiness import Readiness
from service.models.served_model import ServedModel
from service.servicers.context import announce, deadline_of
from service.servicers.forecast_stream import ForecastSession
from service.servicers.streams import in_order
from zoo.card import SeriesTask


class PredictionServicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predictions of the three tasks."""

    def __init__(self, table: ModelTable, readiness: Readiness, *, max_items: int) -> None:
        self._table = table
        self._readiness = readiness
        self._max_items = max_items

    async def ClassifyImages(self, request: ClassifyImagesRequest, context: Any) -> ClassifyImagesResponse:  # noqa: N802
        """Classify encoded images."""
        with self._answering(request.model) as model:
            top_k = predictions.check_top_k(request.top_k)
            predictions.check_items("images", len(request.images), self._max_items)
            probabilities = await typed.classify_images(model, request.images, deadline_of(context))
            with model.metrics.timed("encode"):
                results = predictions.classifications(probabilities, model.labels, top_k)
                return ClassifyImagesResponse(model=_reference(model), results=results)

    async def ClassifyTexts(self, request: ClassifyTextsRequest, context: Any) -> ClassifyTextsResponse:  # noqa: N802
        """Classify texts."""
        with self._answering(request.model) as model:
            top_k = predictions.check_top_k(request.top_k)
            predictions.check_items("texts", len(request.texts), self._max_items)
            probabilities = await typed.classify_texts(model, request.texts, deadline_of(context))
            with model.metrics.timed("encode"):
                results = predictions.classifications(probabilities, model.labels, top_k)
                return ClassifyTextsResponse(model=_reference(model), results=results)

    async def Forecast(self, request: ForecastRequest, context: Any) -> ForecastResponse:  # noqa: N802
        """Forecast tables of readings."""
        with self._answering(request.model) as model:
            task = model.task(SeriesTask)
            predictions.check_items("histories", len(request.histories), self._max_items)
            predictions.check_end_times(request.histories, task)
            histories = predictions.history_tables(request.histories, task)
            forecast = await typed.forecast(model, histories, deadline_of(context))
            with model.metrics.timed("encode"):
                results = predictions.forecast_tables(forecast, task, request.histories)
                return ForecastResponse(model=_reference(model), results=results)

    async def ForecastStream(  # noqa: N802
        self, requests: AsyncIterator[ForecastStreamRequest], context: Any
    ) -> AsyncIterator[ForecastStreamResponse]:
        """Forecast as readings come in."""
        deadline, session = deadline_of(context), None

        async def answer(request: ForecastStreamRequest) -> ForecastStreamResponse | None:
            nonlocal session
            if session and request.HasField("model"):
                raise RequestError("model", "only the first message names the model; open another stream for another")
            if session and not request.HasField("reading"):
                raise RequestError("reading", "the message has no reading", reason="NO_READING")
            session = session or ForecastSession(self._find(request.model))
            with self._readiness.answering():
                return await session.answer(request, deadline) if request.HasField("reading") else None

        try:
            async with aclosing(in_order(requests, answer, self._readiness.stopping)) as responses:
                async for response in responses:
                    if response:
                        yield response
        finally:
            if session:
                session.close()

    def _find(self, reference: model_pb2.ModelRef) -> ServedModel:
        predictions.check_model(reference)
        return announce(self._table.get(reference.name, reference.version))

    @contextmanager
    def _answering(self, reference: model_pb2.ModelRef) -> Iterator[ServedModel]:
        model = self._find(reference)
        with model.metrics.request():
            yield model


def _reference(model: ServedModel) -> model_pb2.ModelRef:
    return model_pb2.ModelRef(name=model.name, version=model.version)
