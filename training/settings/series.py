"""Settings of a forecasting run; without torch, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from training.settings.run import RunSettings
from zoo.calendar import PERIODS

_TIME = "time:"


class SeriesSettings(RunSettings):
    """A run that ends in a published forecaster."""

    task_kind: ClassVar[str] = "forecast"

    data: Path
    """Table of readings, CSV with a header; rows in any order, gaps and duplicates are mended and reported."""
    target: list[str] = Field(min_length=1)
    """Column to forecast; repeat the option for several."""
    feature: list[str] = Field(default=[])
    """Further column that the forecast may look at; repeat the option for several."""
    category: list[str] = Field(default=[])
    """Further column of words that the forecast may look at: one input, 0 or 1, for each word of the training part;
    repeat the option for several."""
    calendar: str = ""
    """What of the time itself the forecast may look at: hour, weekday, yearday, comma separated; in UTC."""
    unit: list[str] = Field(default=[])
    """Unit of a column, COLUMN=UNIT, for the card; repeat the option for several."""
    window: int = Field(default=168, ge=1)
    """Steps of the past that the forecast is made from."""
    horizon: int = Field(default=24, ge=1)
    """Steps that are forecast at once."""
    time_column: str = ""
    """Column of times, or several that make one (year,month,day,hour); default: the first one that holds times."""
    time_format: str = ""
    """Form of the times, such as %m/%d/%y (several columns: %Y,%m,%d,%H); default: ISO 8601."""
    step_seconds: int | None = Field(default=None, ge=1)
    """Time between two steps; default: the most frequent one in the data."""
    sentinels: str = ""
    """Numbers that stand for a missing value, comma separated, such as -999,9999."""
    fill: Literal["linear", "last"] = "linear"
    """What missing values and missing rows become: of the line between their neighbours, or the last known value,
    which looks at no future."""
    rows: int | None = Field(default=None, ge=1)
    """Use only so many rows, the oldest ones; default: all."""
    season: int | None = Field(default=None, ge=1)
    """Steps of a season, for a naive forecast to compare with; day and week are compared with anyway."""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the rows, right before the test part, for early stopping."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows, the newest ones, for the test."""

    coverage: float = Field(default=0.9, ge=0, lt=1)
    """Share of the future values that the prediction intervals should cover; their width is that of the errors on the
    validation part. 0: no intervals."""

    scaling: Literal["standard", "minmax"] = "standard"
    """What the graph does to the columns first: subtract the mean and divide by the standard deviation, or map the
    smallest and the largest value to 0 and 1; of the training part."""
    moving_level: Literal["none", "mean", "last"] = "none"
    """Measure the targets of each window from their own mean, or from their last value, where their level moves over
    the years."""
    shared: bool = False
    """One recurrent network for all targets, which reads the past of one of them at a time; learns less by heart where
    there are many targets and few years."""
    network: Literal["direct", "encoder_decoder", "linear"] = "direct"
    """All steps at once from the state after the window, or one by one by a decoder that goes on from it; linear: none,
    only one linear map from the past of each target to its future, which is hard to beat where data are few."""
    stateful: bool = False
    """Make a model for streams: it takes one row at a time and keeps state instead of a window. It is trained with
    truncated back-propagation through time, over `window` steps at once."""
    cell: Literal["rnn", "lstm", "gru"] = "gru"
    """Kind of recurrent cell."""
    segment: int | None = Field(default=None, ge=1)
    """Steps that the cell reads at once; default: the horizon where the window is a multiple of it, else 1."""
    hidden_size: int = Field(default=128, ge=1)
    """Width of the recurrent state."""
    layers: int = Field(default=1, ge=1)
    """Stacked recurrent layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout behind the recurrent layers and between them."""
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the recurrent state between steps, one mask for all steps."""

    # Of FitSettings, with what suits forecasters.
    epochs: int = Field(default=20, ge=1)
    """At most this many passes over the training part; early stopping usually ends before."""
    batch_size: int = Field(default=256, ge=1)
    """Windows per step."""
    learning_rate: float = Field(default=2e-3, gt=0, le=1e6)
    """Peak rate of AdamW."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled weight decay; biases are left out."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Clip gradients at this norm."""
    patience: int = Field(default=4, ge=1)
    """Stop after this many epochs without a better validation score."""

    @model_validator(mode="after")
    def _segments_fill_the_window(self) -> SeriesSettings:
        if self.window % self.segment_steps:
            raise ValueError(f"segment {self.segment_steps} does not divide window {self.window}; choose one that does")
        return self

    @model_validator(mode="after")
    def _streams_go_row_by_row(self) -> SeriesSettings:
        if self.stateful and (self.network != "direct" or self.segment not in (None, 1)):
            raise ValueError("stateful reads row by row; leave out network and segment")
        if self.stateful and (self.moving_level != "none" or self.shared):
            raise ValueError("stateful has no window and no shared network; leave out moving_level and shared")
        return self

    @model_validator(mode="after")
    def _a_linear_map_reads_targets(self) -> SeriesSettings:
        others = [name for name in ("feature", "category", "calendar", "shared") if getattr(self, name)]
        if self.network == "linear" and others:
            raise ValueError(f"network linear reads the past of each target, nothing else; leave out {others[0]}")
        return self

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> SeriesSettings:
        columns = [*self.target, *self.feature, *self.category]
        if twice := {column for column in columns if columns.count(column) > 1}:
            raise ValueError(f"column {min(twice)!r} is named twice in target, feature and category; name it once")
        for column in self.units:
            if column not in columns:
                raise ValueError(f"unit of {column!r}: it is neither a target nor a feature; expected COLUMN=UNIT")
        return self

    @field_validator("sentinels")
    @classmethod
    def _sentinels_are_numbers(cls, value: str) -> str:
        _numbers(value)
        return value

    @field_validator("calendar")
    @classmethod
    def _calendar_is_known(cls, value: str) -> str:
        names = _calendar_columns(value)
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name.removeprefix(_TIME)} is named twice; name it once")
            if name not in PERIODS:
                known = ", ".join(column.removeprefix(_TIME) for column in PERIODS)
                raise ValueError(f"{name.removeprefix(_TIME)!r} is not known; choose from {known}")
        return value

    @property
    def calendar_columns(self) -> list[str]:
        """Names of the columns that are made from the times."""
        return _calendar_columns(self.calendar)

    @property
    def sentinel_values(self) -> list[float]:
        """The numbers that stand for a missing value."""
        return _numbers(self.sentinels)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each column that has one."""
        pairs = (item.partition("=") for item in self.unit)
        return {column.strip(): unit.strip() for column, _, unit in pairs}

    @property
    def segment_steps(self) -> int:
        """Steps that the cell reads at once."""
        if self.segment is not None:
            return self.segment
        return self.horizon if self.window % self.horizon == 0 else 1


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part.strip()]


def _calendar_columns(text: str) -> list[str]:
    return [_TIME + part.strip() for part in text.split(",") if part.strip()]
