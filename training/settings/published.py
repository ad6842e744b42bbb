"""Settings of what works on published models; without torch, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from training.settings.base import Settings


class EvaluateSettings(Settings):
    """Settings of `python -m training evaluate`."""

    model: Path
    """A published model: its model.onnx, or the folder of its version, or of the model, whose newest version is
    taken."""
    data: list[Path] = Field(min_length=1)
    """What to measure it on, in any form that training reads: the data it was trained on, or others."""
    part: Literal["auto", "train", "validation", "test", "all"] = "auto"
    """Part of the data. auto: of the data that it was trained on the test part, as its card says how they were split;
    of others their own test part, or else everything."""
    against: Path | None = None
    """Another published model, to be measured on the same items."""
    server: str = ""
    """HOST:PORT of a running server that has the model; it is asked the same, and the answers are compared."""
    server_name: str = ""
    """Name of the model on that server; default: that of the folder it lies in."""
    server_tensors: bool = False
    """Send images as tensors, too, for servers that know the Open Inference Protocol only; else as files."""
    server_ca: Path | None = None
    """PEM file of whom to trust, for a server that speaks TLS; a token is taken from MENAGERIE_TOKEN."""
    batch_size: int = Field(default=32, ge=1)
    """Items that are run at once; a server has a limit."""
    gate: Path | None = None
    """YAML or TOML file of limits, such as `accuracy: {at_least: 0.9}` or `size_mb: {at_most: 15}`; exit code 1 says
    that one of them is not kept."""
    result: Path | None = None
    """JSON file to write all numbers to."""
    validation_file: Path | None = None
    """Texts that the model was validated on, where its run had a file for that."""
    text_column: str | None = None
    """Column of the texts; default: as in training."""
    label_column: str | None = None
    """Column of the labels; default: as in training."""
    time_column: str | None = None
    """Column of the times; default: as in training."""
    time_format: str | None = None
    """Form of the times; default: as in training."""
    runs: Path = Path("runs")
    """Folder of runs, whose test-uses.csv counts the looks at test parts."""
    skip_broken: bool = False
    """Leave unreadable images out and name them."""


class EnsembleSettings(Settings):
    """Settings of `python -m training ensemble`."""

    data: list[Path] = Field(min_length=1)
    """What the models were trained on, all with the same split; its validation part can choose the weights, its test
    part says how good the ensemble is."""
    model: list[Path] = Field(min_length=2)
    """A published model, file or folder; repeat the option for each."""
    output: Path
    """Model repository to publish to; made where it does not exist."""
    name: str
    """Name of the ensemble in the repository."""
    version: int | None = Field(default=None, ge=1)
    """Version to publish as; default: one more than the newest."""
    weight: list[float] = Field(default=[])
    """How much a model counts in the mean; give one for each in their order. Default: all alike."""
    fit_weights: bool = False
    """Choose the weights that are best on the validation part."""
    description: str = ""
    """One sentence for the model's card."""
    licence: str = ""
    """Licence of the ensemble; default: those of the models."""
    batch_size: int = Field(default=32, ge=1)
    """Items that are run at once."""
    validation_file: Path | None = None
    """Texts that the models were validated on, where their runs had a file for that."""

    runs: Path = Path("runs")
    """Folder of runs, whose test-uses.csv counts the looks at test parts."""

    @model_validator(mode="after")
    def _weights_fit(self) -> EnsembleSettings:
        if self.weight and self.fit_weights:
            raise ValueError("weight gives the weights, fit_weights finds them; leave out one of the two")
        if self.weight and len(self.weight) != len(self.model):
            raise ValueError(f"there are {len(self.model)} models and {len(self.weight)} weights; give one for each")
        if any(weight <= 0 for weight in self.weight):
            raise ValueError(f"weight {min(self.weight):g} does not count; leave that model out")
        return self
