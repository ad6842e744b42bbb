"""What a model does: its inputs and outputs, and what its labels, columns and preprocessing are."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo.card.base import Part

IMAGE_INPUT, TEXT_INPUT, SERIES_INPUT = "image", "text", "history"
PROBABILITIES, LOGITS, FORECAST = "probabilities", "logits", "forecast"
CLASS_ACTIVATION = "class_activation"
CHANNELS = ("red", "green", "blue")
"""Of an image, in this order."""
UNKNOWN_TOKEN_RATE = "unknown_token_rate"


class Resize(Part):
    """How a decoded image becomes the graph's input. The convention is torchvision's Resize and CenterCrop on PIL."""

    shorter_side_px: int | None = Field(default=None, ge=1, le=8192)
    """Scale so that the shorter side has this length, aspect kept; None: scale straight to `height_px` x `width_px`,
    aspect not kept, no crop."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    height_px: int = Field(ge=1, le=8192)
    """Height of the centre crop, and of the graph's input."""
    width_px: int = Field(ge=1, le=8192)
    """Width of the centre crop, and of the graph's input."""
    reduced_decoding: bool = False
    """Whether a JPEG file that is much larger than that may be decoded at 1/2, 1/4 or 1/8 of its size: the decoder then
    leaves out high frequencies that scaling would take away. Nine times as fast for a photograph of 12 megapixels, with
    differences of a fifth of a grey level on average."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.shorter_side_px is not None and self.shorter_side_px < max(self.height_px, self.width_px):
            raise ValueError(
                f"the crop {self.height_px}x{self.width_px} does not fit into shorter_side_px={self.shorter_side_px}"
            )
        return self

    def __str__(self) -> str:
        size = f"{self.height_px}x{self.width_px}"
        if self.shorter_side_px is None:
            return f"resize to {size} ({self.interpolation}), aspect not kept"
        return f"shorter side to {self.shorter_side_px} ({self.interpolation}), centre crop {size}"


Labels = Annotated[tuple[str, ...], Field(min_length=2)]


class ImageTask(Part):
    """Image classification: `image` uint8 [N, height, width, 3], RGB -> `probabilities`, `logits` [N, K]."""

    kind: Literal["image_classification"] = "image_classification"
    labels: Labels
    resize: Resize

    @property
    def answer_size(self) -> int:
        """Numbers that the answer to one input has."""
        return len(self.labels)


class TextTask(Part):
    """Text classification: `text` string [N], Unicode NFC -> `probabilities`, `logits` [N, K]."""

    kind: Literal["text_classification"] = "text_classification"
    labels: Labels
    max_tokens: int = Field(ge=1)
    """Tokens beyond this many are cut off by the graph."""
    language: str = ""
    """BCP 47 tag, e.g. "ko"; empty when unknown."""

    @property
    def answer_size(self) -> int:
        """Numbers that the answer to one input has."""
        return len(self.labels)


class Quantity(Part):
    """A column of a table of readings."""

    name: str = Field(min_length=1)
    unit: str = ""


class PredictionInterval(Part):
    """How far from a forecast the future usually lies: forecast - half width <= value <= forecast + half width."""

    coverage: float = Field(gt=0, lt=1)
    """Share of the future values that should lie inside."""
    half_widths: Annotated[tuple[tuple[Annotated[float, Field(ge=0)], ...], ...], Field(min_length=1)]
    """[horizon, targets], physical units."""


class SeriesTask(Part):
    """Forecast: `history` float32 [N, window, features] -> `forecast` [N, horizon, targets], physical units."""

    kind: Literal["forecast"] = "forecast"
    features: Annotated[tuple[Quantity, ...], Field(min_length=1)]
    targets: Annotated[tuple[Quantity, ...], Field(min_length=1)]
    window_steps: int = Field(ge=1)
    horizon_steps: int = Field(ge=1)
    step_seconds: int = Field(ge=1)
    time_column: str = ""
    """Name of the time column in the files that it was trained on; helps to read a user's file."""
    interval: PredictionInterval | None = None
    """Around each forecast value; None: unknown."""

    @property
    def answer_size(self) -> int:
        """Numbers that the answer to one input has."""
        return self.horizon_steps * len(self.targets)

    @model_validator(mode="after")
    def _interval_fits(self) -> Self:
        wanted = [len(self.targets)] * self.horizon_steps
        if self.interval and [len(row) for row in self.interval.half_widths] != wanted:
            raise ValueError(f"interval.half_widths must have {self.horizon_steps} rows of {len(self.targets)} numbers")
        return self


Task = Annotated[ImageTask | TextTask | SeriesTask, Field(discriminator="kind")]


class StateTensor(Part):
    """State that a recurrent model carries from one step to the next; zeros before the first one."""

    input: str = Field(min_length=1)
    """Graph input that takes the state, [N, *shape]."""
    output: str = Field(min_length=1)
    """Graph output that gives the next one, of the same shape."""
    shape: tuple[Annotated[int, Field(ge=1)], ...]
    """Without the batch axis."""
    dtype: Literal["float16", "float32", "float64", "int32", "int64"] = "float32"
