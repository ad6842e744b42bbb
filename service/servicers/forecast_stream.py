"""A stream of readings: what the model has seen of it, and the forecast after each row."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from menagerie.v1 import model_pb2
from menagerie.v1.prediction_service_pb2 import ForecastStreamRequest, ForecastStreamResponse
from service.convert import predictions
from service.models.sequences import Step
from service.models.served_model import ServedModel
from zoo.card import SeriesTask


class ForecastSession:
    """One stream. `answer` is called in the order of the readings, the next one before the last one has its answer."""

    def __init__(self, model: ServedModel) -> None:
        """Begin without readings.

        Raises:
            TaskMismatchError: it is no model for forecasts.
        """
        self._model = model
        self._task = model.task(SeriesTask)
        model.conversations.open(self)
        self._rows: deque[NDArray[np.float32]] = deque(maxlen=self._task.window_steps)
        self._started = False

    async def answer(self, request: ForecastStreamRequest, deadline: float | None) -> ForecastStreamResponse:
        """Take the next reading and forecast what comes after it."""
        row = predictions.read_reading(request.reading, self._task)
        # Up to the next await this is one step, so that the rows are in order.
        self._rows.append(row)
        response = ForecastStreamResponse(model=model_pb2.ModelRef(name=self._model.name, version=self._model.version))
        response.missing_readings = self._task.window_steps - len(self._rows)
        if response.missing_readings:
            return response
        step = Step(self, start=not self._started, lasting=True)
        self._started = True
        with self._model.metrics.request():
            forecast = await self._model.forecast_step(np.stack(self._rows), deadline, step)
            with self._model.metrics.timed("encode"):
                response.forecast.CopyFrom(predictions.forecast_after(forecast, self._task, request.reading))
        return response

    def close(self) -> None:
        """Forget the stream."""
        self._model.conversations.close(self)
