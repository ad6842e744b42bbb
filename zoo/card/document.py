"""The whole card, and reading a stored one."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from zoo.card.base import Part, check_shares
from zoo.card.history import Calibration, Provenance
from zoo.card.samples import Golden
from zoo.card.statistics import ColumnStatistics
from zoo.card.tasks import FORECAST, SERIES_INPUT, SeriesTask, StateTensor, Task
from zoo.errors import CardError

SCHEMA_VERSION = 1
HEADLINE_METRICS = ("accuracy", "mae")


class Card(Part):
    """The whole card."""

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    task: Task
    licence: str = Field(min_length=1)
    provenance: Provenance
    test_metrics: dict[str, float] = Field(default_factory=dict)
    """Measured on the test split through ONNX Runtime, e.g. {"accuracy": 0.93}; for a forecaster the naive rows too."""
    calibration: Calibration | None = None
    """Of a classifier; None: its logits are as it was trained."""
    tried: dict[str, dict[str, float | str]] = Field(default_factory=dict)
    """Variants that were tried at publication, e.g. {"int8": {"accuracy": .., "speedup": .., "kept": "yes"}}."""
    reference: dict[str, ColumnStatistics] = Field(default_factory=dict)
    """Statistics of the training inputs, e.g. of each channel, of the number of tokens, of each feature."""
    class_shares: dict[str, float] = Field(default_factory=dict)
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
            check_shares("class_shares", self.class_shares.values())
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
            if len(sample.expected) != self.task.answer_size:
                raise ValueError(
                    f"golden.samples[{index}].expected must have {self.task.answer_size} numbers, it has "
                    f"{len(sample.expected)}"
                )
            if sample.history is not None and isinstance(self.task, SeriesTask):
                self._check_history(index, sample.history, self.task)
        return self

    def _check_history(self, index: int, history: tuple[tuple[float, ...], ...], task: SeriesTask) -> None:
        rows = len(history) if self.state and history else task.window_steps
        if len(history) != rows or any(len(row) != len(task.features) for row in history):
            raise ValueError(
                f"golden.samples[{index}].history must have {'a row or more' if self.state else f'{rows} rows'} of "
                f"{len(task.features)} numbers"
            )

    def headline(self) -> str:
        """The one test metric to name where there is room for one, e.g. "accuracy 0.93"; empty without any."""
        names = [name for name in HEADLINE_METRICS if name in self.test_metrics] or list(self.test_metrics)
        return f"{names[0]} {self.test_metrics[names[0]]:.4g}" if names else ""

    def to_json(self) -> str:
        """The card as it is stored in the file."""
        return self.model_dump_json(exclude_defaults=False, exclude_none=True)


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
