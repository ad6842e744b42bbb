"""What the typed API asks of a model: images, texts and tables, prepared as in training, answered in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.backend.contract import Tensors
from service.errors import TaskMismatchError
from service.models.preparing import call_each, prepare_all
from service.models.served_model import ServedModel
from zoo.card import FORECAST, IMAGE_INPUT, PROBABILITIES, SERIES_INPUT, TEXT_INPUT, ImageTask, SeriesTask, TextTask
from zoo.image import prepare_image
from zoo.series import prepare_history
from zoo.text import prepare_text

# What takes less time than a change of threads is prepared on the event loop.
_INLINE_CHARACTERS = 10_000
_INLINE_TABLES, _INLINE_VALUES = 4, 10_000


@dataclass(frozen=True)
class Table:
    """A table of readings, not read yet."""

    values: int
    """In all its columns."""
    read: Callable[[], Mapping[str, ArrayLike]]
    """Gives the columns; raises InputError where there are none to give."""


async def classify_images(model: ServedModel, images: Sequence[bytes], deadline: float | None) -> NDArray[np.float32]:
    """Classify encoded images: probabilities [N, K].

    Raises:
        ServiceError: as `ServedModel.answer`; InvalidItemsError names every image that cannot be used.
    """
    resize = model.task(ImageTask).resize

    async def prepare() -> Tensors:
        pixels = np.empty((len(images), resize.height_px, resize.width_px, 3), np.uint8)

        def decode(index: int) -> None:
            pixels[index] = prepare_image(images[index], resize, max_pixels=model.max_pixels)

        await call_each(model.pool, "images[{}]", len(images), decode)
        return {IMAGE_INPUT: pixels}

    return await model.answer(len(images), prepare, PROBABILITIES, deadline)


async def classify_texts(model: ServedModel, texts: Sequence[str], deadline: float | None) -> NDArray[np.float32]:
    """Classify texts: probabilities [N, K]; errors as `classify_images`."""
    model.task(TextTask)

    async def prepare() -> Tensors:
        pool = None if sum(map(len, texts)) <= _INLINE_CHARACTERS else model.pool
        return {TEXT_INPUT: np.array(await prepare_all(pool, "texts[{}]", texts, prepare_text), dtype=object)}

    return await model.answer(len(texts), prepare, PROBABILITIES, deadline)


async def forecast(model: ServedModel, histories: Sequence[Table], deadline: float | None) -> NDArray[np.float32]:
    """Forecast tables of readings: [N, horizon, targets]; errors as `classify_images`."""
    task = model.task(SeriesTask)
    if model.settings.sequence:
        text = f"model {model.name!r} keeps state from row to row; call ForecastStream"
        raise TaskMismatchError("model.name", text, metadata={"model": model.name})

    async def prepare() -> Tensors:
        few = len(histories) <= _INLINE_TABLES and sum(table.values for table in histories) <= _INLINE_VALUES
        pool, field = None if few else model.pool, "histories[{}].columns"
        windows = await prepare_all(pool, field, histories, lambda table: prepare_history(table.read(), task))
        return {SERIES_INPUT: np.stack(windows)}

    return await model.answer(len(histories), prepare, FORECAST, deadline)
