"""What tuning found out, of one model and of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from service.backend.contract import Device
from service.tuning.choosing import Choice, common_rows
from service.tuning.trials import Combination, Measurements, Trial
from zoo.repository import ModelVersion


@dataclass(frozen=True)
class Tuned:
    """What was found out about a model."""

    version: ModelVersion
    device: Device
    sizes: tuple[int, ...]
    """Rows of the batches that were to be tried."""
    free_batch: bool
    """Whether the server's limit says how large a batch may be, and not the model, or that its rows are pictures."""
    configured: bool
    """Whether its config.pbtxt says how many instances or threads it has already."""
    default: Trial
    """What the server does by itself, or as the configuration has it."""
    measured: Measurements
    failed: dict[Trial, str]
    choice: Choice | None
    """None: it was interrupted before anything was known."""

    @property
    def folder(self) -> Path:
        """Of the model, where its config.pbtxt is."""
        return self.version.path.parents[1]


@dataclass
class Report:
    """What was found out about all models; grows while they are tuned."""

    tuned: list[Tuned] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Model to what is wrong with it."""

    @property
    def asking(self) -> dict[str, tuple[Measurements, Combination]]:
        """Models whose batches are as large as the server allows: what was measured, and the combination to have."""
        return {
            model.version.name: (model.measured, model.choice.best.trial.combination)
            for model in self.tuned
            if model.free_batch and model.choice
        }

    def max_batch_size(self, default: int) -> int | None:
        """The server's --max-batch-size that suits all models; None where no model asks."""
        if not self.asking:
            return None
        sizes = {size for model in self.tuned if model.free_batch for size in model.sizes}
        return common_rows(self.asking.values(), {*sizes, default}, default)
