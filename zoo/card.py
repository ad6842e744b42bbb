"""The card: what a model file says about itself, JSON in the file's `metadata_props` under `CARD_KEY`.

The graph of a carded model takes raw user input and has fixed tensor names, so that a reader of the card knows how to
call it:

    task                  input                              outputs
    image_classification  image    uint8   [N, H, W, 3]      probabilities float32 [N, K], logits float32 [N, K]
    text_classification   text     string  [N]               probabilities float32 [N, K], logits float32 [N, K]
    forecast              history  float32 [N, T, F]         forecast      float32 [N, H, targets]

An image classifier may have an output more, `class_activation` float32 [N, h, w]: what each place of the image speaks
for the most probable class, h x w places in rows from the top left. A text classifier may have one more,
`unknown_token_rate` float32 [N]: how much of each text it cannot read.
A forecaster may keep state between steps (`Card.state`): its graph takes one row at a time, [N, 1, F], and has an input
and an output more for every tensor of the state.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from zoo.errors import CardError

CARD_KEY = "menagerie.card"
SCHEMA_VERSION = 1

IMAGE_INPUT, TEXT_INPUT, SERIES_INPUT = "image", "text", "history"
PROBABILITIES, LOGITS, FORECAST = "probabilities", "logits", "forecast"
CLASS_ACTIVATION = "class_activation"
UNKNOWN_TOKEN_RATE = "unknown_token_rate"
HEADLINE_METRICS = ("accuracy", "mae")


class _Part(BaseModel):
    """A part of a card: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")


class Resize(_Part):
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


class ImageTask(_Part):
    """Image classification: `image` uint8 [N, height, width, 3], RGB -> `probabilities`, `logits` [N, K]."""

    kind: Literal["image_classification"] = "image_classification"
    labels: Labels
    resize: Resize


class TextTask(_Part):
    """Text classification: `text` string [N], Unicode NFC -> `probabilities`, `logits` [N, K]."""

    kind: Literal["text_classification"] = "text_classification"
    labels: Labels
    max_tokens: int = Field(ge=1)
    """Tokens beyond this many are cut off by the graph."""
    language: str = ""
    """BCP 47 tag, e.g. "ko"; empty when unknown."""


class Quantity(_Part):
    """A column of a table of readings."""

    name: str = Field(min_length=1)
    unit: str = ""


class PredictionInterval(_Part):
    """How far from a forecast the future usually lies: forecast - half width <= value <= forecast + half width."""

    coverage: float = Field(gt=0, lt=1)
    """Share of the future values that should lie inside."""
    half_widths: Annotated[tuple[tuple[Annotated[float, Field(ge=0)], ...], ...], Field(min_length=1)]
    """[horizon, targets], physical units."""


class SeriesTask(_Part):
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

    @model_validator(mode="after")
    def _interval_fits(self) -> Self:
        wanted = [len(self.targets)] * self.horizon_steps
        if self.interval and [len(row) for row in self.interval.half_widths] != wanted:
            raise ValueError(f"interval.half_widths must have {self.horizon_steps} rows of {len(self.targets)} numbers")
        return self


Task = Annotated[ImageTask | TextTask | SeriesTask, Field(discriminator="kind")]


class StateTensor(_Part):
    """State that a recurrent model carries from one step to the next; zeros before the first one."""

    input: str = Field(min_length=1)
    """Graph input that takes the state, [N, *shape]."""
    output: str = Field(min_length=1)
    """Graph output that gives the next one, of the same shape."""
    shape: tuple[Annotated[int, Field(ge=1)], ...]
    """Without the batch axis."""
    dtype: Literal["float16", "float32", "float64", "int32", "int64"] = "float32"


class Provenance(_Part):
    """Where the model comes from."""

    created: datetime
    recipe: str
    """What made it: a recipe module or a command line."""
    data: str
    """Name of the data set."""
    data_sha256: str = Field(pattern=r"^[0-9a-f]{64}$|^$")
    """Hash over the data it was trained and tested on; empty for weights that came ready-made."""
    split: str = ""
    """How the test part was held out, e.g. "stratified by class, seed 7: 560 train / 80 val / 160 test"."""
    test_uses: int = Field(default=0, ge=0)
    """How often the test part of these data had been looked at where it was trained, this time included; 0: unknown."""
    run: str = ""
    """Folder of the run, NAME/TIME below the folder of all runs; empty when no run made it."""
    weights_source: str = ""
    """Where the initial weights came from; empty when it was trained from scratch."""
    seed: int = 0
    versions: dict[str, str] = {}
    """Software that made it, package name to version."""
    settings: dict[str, str | int | float | bool | None] = {}
    """Training settings that matter for reproduction, flat."""


class GoldenSample(_Part):
    """A raw user input and what the trained torch model answered to it; exactly one of the inputs is set."""

    image: bytes | None = None
    """An encoded image file."""
    text: str | None = None
    history: tuple[tuple[float, ...], ...] | None = None
    """[T, F], physical units."""
    expected: tuple[float, ...]
    """`probabilities` [K], or `forecast` [H, targets] flattened row-major."""

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if sum(value is not None for value in (self.image, self.text, self.history)) != 1:
            raise ValueError("exactly one of image, text, history must be set")
        return self


class Golden(_Part):
    """The golden samples and how closely the graph must reproduce them: |got - expected| <= atol + rtol |expected|."""

    samples: tuple[GoldenSample, ...] = ()
    atol: float = Field(default=1e-3, ge=0)
    rtol: float = Field(default=1e-3, ge=0)


class Distribution(_Part):
    """A histogram: how the values of a quantity are shared among bins, as drift is measured against it."""

    edges: Annotated[tuple[float, ...], Field(min_length=1, max_length=99)]
    """Between the bins, ascending; a value on an edge is in the bin above it."""
    shares: tuple[float, ...]
    """Of the values, one more than there are edges; they sum to 1."""

    @model_validator(mode="after")
    def _is_a_histogram(self) -> Self:
        if any(left >= right for left, right in pairwise(self.edges)):
            raise ValueError("edges must ascend")
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 1} shares, there are {len(self.shares)}")
        _check_shares("shares", self.shares)
        return self

    @classmethod
    def of(cls, values: ArrayLike, bins: int = 10) -> Self | None:
        """Bins of about equally many values; None where all values are the same."""
        return cls.of_counts(*np.unique(np.asarray(values, np.float64), return_counts=True), bins=bins)

    @classmethod
    def of_counts(cls, values: ArrayLike, counts: ArrayLike, bins: int = 10) -> Self | None:
        """The same of values that differ, ascending, and how often each occurs.

        A value that fills more than one bin makes fewer of them, but at least two.
        """
        distinct, occurrences = np.asarray(values, np.float64), np.asarray(counts, np.float64)
        if len(distinct) < 2:
            return None
        below = (np.cumsum(occurrences) - occurrences) / occurrences.sum()
        cuts = np.unique(np.searchsorted(below, np.arange(1, bins) / bins).clip(max=len(distinct) - 1))
        shares = np.add.reduceat(occurrences, [0, *cuts]) / occurrences.sum()
        return cls(edges=tuple(distinct[cuts].tolist()), shares=tuple(shares.tolist()))


class ColumnStatistics(_Part):
    """Distribution of one quantity over the training inputs."""

    mean: float
    std: float = Field(ge=0)
    min: float
    max: float
    distribution: Distribution | None = None
    """Of the same values; without it drift is told by the mean only."""

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Statistics of all values of an array."""
        sample = np.asarray(values, np.float64).ravel()
        return cls(
            mean=float(sample.mean()),
            std=float(sample.std()),
            min=float(sample.min()),
            max=float(sample.max()),
            distribution=Distribution.of(sample),
        )


class Calibration(_Part):
    """Whether a classifier is right as often as it says, and what was done for it."""

    temperature: float = Field(gt=0)
    """Found on the validation part; the graph divides its logits by it."""
    error_before: float = Field(ge=0, le=1)
    """Expected calibration error on the test part with temperature 1, over ten bins of confidence."""
    error_after: float = Field(ge=0, le=1)
    """The same of the graph as it is."""

    def __str__(self) -> str:
        errors = f"{self.error_before:.4f} to {self.error_after:.4f}"
        return f"temperature {self.temperature:.3f}; expected calibration error on the test part from {errors}"


class Card(_Part):
    """The whole card."""

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    task: Task
    licence: str = Field(min_length=1)
    provenance: Provenance
    test_metrics: dict[str, float] = {}
    """Measured on the test split through ONNX Runtime, e.g. {"accuracy": 0.93}; for a forecaster the naive rows too."""
    calibration: Calibration | None = None
    """Of a classifier; None: its logits are as it was trained."""
    tried: dict[str, dict[str, float | str]] = {}
    """Variants that were tried at publication, e.g. {"int8": {"accuracy": .., "speedup": .., "kept": "yes"}}."""
    reference: dict[str, ColumnStatistics] = {}
    """Statistics of the training inputs, e.g. of each channel, of the number of tokens, of each feature."""
    class_shares: dict[str, float] = {}
    """Of a classifier: label to its share of the training examples; empty when unknown. Drift of the predicted classes
    is measured against it."""
    golden: Golden = Golden()
    state: tuple[StateTensor, ...] = ()
    """What a forecaster carries from step to step. It then reads one row per request (`window_steps` 1), and the
    history of a golden sample is fed row by row, from zero state; `expected` is the forecast after the last row."""

    @model_validator(mode="after")
    def _state_fits_task(self) -> Self:
        if self.state and not (isinstance(self.task, SeriesTask) and self.task.window_steps == 1):
            raise ValueError("state is for a forecast task with window_steps=1, which reads one row per request")
        for kind, names in (("input", [s.input for s in self.state]), ("output", [s.output for s in self.state])):
            taken = {SERIES_INPUT, FORECAST} & set(names)
            if taken or len(set(names)) < len(names):
                raise ValueError(f"state {kind}s {names} must differ from each other, {SERIES_INPUT} and {FORECAST}")
        return self

    @model_validator(mode="after")
    def _shares_fit_task(self) -> Self:
        if self.class_shares:
            labels = () if isinstance(self.task, SeriesTask) else self.task.labels
            if unknown := sorted(self.class_shares.keys() - set(labels)):
                raise ValueError(f"class_shares names {unknown[0]!r}, which is no label of the task")
            _check_shares("class_shares", self.class_shares.values())
        return self

    @model_validator(mode="after")
    def _calibration_fits_task(self) -> Self:
        if self.calibration and isinstance(self.task, SeriesTask):
            raise ValueError("calibration is of a classifier; a forecast has no probabilities")
        return self

    @model_validator(mode="after")
    def _golden_fits_task(self) -> Self:
        field = {"image_classification": "image", "text_classification": "text", "forecast": "history"}[self.task.kind]
        for index, sample in enumerate(self.golden.samples):
            if getattr(sample, field) is None:
                raise ValueError(f"golden.samples[{index}].{field} must be set for task {self.task.kind}")
            if self.state and not sample.history:
                raise ValueError(f"golden.samples[{index}].history must have a row")
        return self

    def headline(self) -> str:
        """The one test metric to name where there is room for one, e.g. "accuracy 0.93"; empty without any."""
        names = [name for name in HEADLINE_METRICS if name in self.test_metrics] or list(self.test_metrics)
        return f"{names[0]} {self.test_metrics[names[0]]:.4g}" if names else ""

    def to_json(self) -> str:
        """The card as it is stored in the file."""
        return self.model_dump_json(exclude_defaults=False, exclude_none=True)


def _check_shares(name: str, shares: Iterable[float]) -> None:
    values = list(shares)
    if min(values) < 0 or abs(sum(values) - 1) > 1e-3:
        raise ValueError(f"{name} must be positive and sum to 1, they sum to {sum(values):g}")


def parse_card(text: str) -> Card:
    """Read a stored card.

    Raises:
        CardError: naming every field that is missing, unknown or wrong.
    """
    try:
        return Card.model_validate_json(text)
    except ValidationError as exc:
        problems = "; ".join(f"{_path(error['loc'])}: {_problem(error)}" for error in exc.errors())
        raise CardError(f"the card is not valid: {problems}") from exc


def _path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.lstrip(".") or "card"


def _problem(error: ErrorDetails) -> str:
    if error["loc"] == ("schema_version",):
        return f"schema {error['input']!r} is unknown; this version of menagerie reads schema {SCHEMA_VERSION}"
    value = repr(error.get("input"))
    shown = value if len(value) <= 60 else value[:57] + "..."
    return error["msg"] if error["type"] == "missing" else f"{error['msg']} (got {shown})"
