"""Settings that every training run has."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from training.settings.base import Settings
from zoo.repository import find_model


class FitSettings(Settings):
    """How the training loop runs."""

    help_panel: ClassVar[str] = "Training loop"

    epochs: int = Field(default=20, ge=1)
    """At most this many passes over the training part; early stopping usually ends before."""
    batch_size: int = Field(default=32, ge=1)
    """Items per step."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1e6)
    """Peak rate of AdamW."""
    find_rate: bool = False
    """Find the learning rate first, by a range test: a short training at rates that grow from step to step. The rate at
    which the loss falls fastest takes the place of learning_rate; rates.png in the run folder shows the test."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decoupled weight decay; biases and normalisation parameters are left out."""
    decay_all: bool = False
    """Decay biases and normalisation parameters, too."""
    l1: float = Field(default=0.0, ge=0)
    """Add this many times the sum of the absolute values of all trained weights to the loss."""
    averaging: Literal["none", "ema", "swa"] = "none"
    """Evaluate and keep averaged weights: ema over the last steps, swa over the epochs of the last quarter."""
    ema_decay: float = Field(default=0.99, gt=0, lt=1)
    """Part of the old average that a step keeps in ema."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: down to 0 along a cosine, or constant."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Part of all steps over which the learning rate rises linearly from 0."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Clip gradients at this norm; recurrent networks need about 1."""
    patience: int = Field(default=5, ge=1)
    """Stop after this many epochs without a better validation score."""
    seed: int = Field(default=0, ge=0)
    """Seed of the split, of the initial weights and of the order of the data."""
    workers: int = Field(default=0, ge=0)
    """Processes that load data; 0: load in the training process."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    precision: Literal["32", "16-mixed", "bf16-mixed"] = "32"
    """Arithmetic of the training steps; the mixed ones are for a GPU."""


class RunSettings(FitSettings):
    """A run that ends in a published model."""

    help_panel: ClassVar[str] = "Run and published model"
    task_kind: ClassVar[str] = ""
    """What a card calls the task of its models."""

    output: Path
    """Model repository to publish to; made where it does not exist."""
    name: str
    """Name of the model in the repository."""
    version: int | None = Field(default=None, ge=1)
    """Version to publish as; default: one more than the newest."""
    description: str = ""
    """One sentence for the model's card."""
    licence: str = Field(default="unknown", min_length=1)
    """Licence of the model: an SPDX name, or words."""
    runs: Path = Path("runs")
    """Folder for logs and checkpoints; each run makes its own inside."""
    baselines: bool = True
    """Fit simple models on the same data, too, and put them beside the result: logistic regression for images and
    texts, gradient boosting for series. The answers that need no fit are there anyway."""
    from_model: Path | None = None
    """Published model to go on from, with the weights and the settings of its run where none are given here, on new
    data with the same labels or more. The old one is kept, and a table compares the two."""
    resume: Path | None = None
    """Folder of a run to go on with after its last whole epoch; the weights will be those of a run that never
    stopped."""

    @field_validator("from_model")
    @classmethod
    def _newest_now(cls, value: Path | None) -> Path | None:
        """The file itself: the run will publish a newer version beside it."""
        return value and find_model(value).resolve()

    def card_settings(self) -> dict[str, str | int | float | bool | None]:
        """The settings that matter for reproduction, flat and without this machine's paths, for the card."""
        place = {"output", "name", "version", "description", "licence", "runs", "resume", "from_model"}
        local = place | {"workers", "device"}
        return {
            key: value.name if isinstance(value, Path) else value
            for key, value in self.model_dump(exclude=local).items()
            if value is None or isinstance(value, str | int | float | bool | Path)
        }
