"""Settings that every training run has; the text under each field is its `--help`.

A task adds its own by inheritance, so that one flat, validated model describes a whole run:
`class ImageSettings(RunSettings)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base: immutable, unknown names are errors, the docstring of a field is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class FitSettings(Settings):
    """How the training loop runs."""

    epochs: int = Field(default=20, ge=1)
    """At most this many passes over the training part; early stopping usually ends before."""
    batch_size: int = Field(default=32, ge=1)
    """Items per step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak rate of AdamW."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decoupled weight decay; biases and normalisation parameters are left out."""
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

    def card_settings(self) -> dict[str, str | int | float | bool | None]:
        """The settings that matter for reproduction, flat and without this machine's paths, for the card."""
        local = {"output", "name", "version", "description", "licence", "runs", "workers", "device"}
        return {
            key: value.name if isinstance(value, Path) else value
            for key, value in self.model_dump(exclude=local).items()
            if value is None or isinstance(value, str | int | float | bool | Path)
        }


class ImageSettings(RunSettings):
    """Settings of `python -m training image`."""

    data: Path
    """Folder of class folders, DATA/<class>/*.jpg; or DATA/train/<class>/ with DATA/val/<class>/ for validation."""
    backbone: str = "mobilenet_v2"
    """Network: a torchvision name such as resnet18, or timm/NAME."""
    mode: Literal["freeze", "finetune", "scratch"] = "finetune"
    """freeze trains only the head, in seconds; finetune everything, the backbone at a lower rate; scratch from random
    weights."""
    weights: str = "pretrained"
    """Initial weights: pretrained (from the library's hub), none, or a safetensors or torch file."""
    backbone_rate: float = Field(default=0.1, gt=0, le=1)
    """Learning rate of the backbone in finetune mode, relative to that of the head."""
    batch_norm: Literal["auto", "train", "frozen"] = "auto"
    """Statistics of batch norm in finetune mode; auto freezes them where the weights have them folded away."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    smallest_crop: float = Field(default=0.35, gt=0, le=1)
    """Smallest part of an image's area that augmentation cuts out."""
    validation: float = Field(default=0.15, ge=0, lt=1)
    """Share of the data for validation; not used where the data come with a val folder."""
    test: float = Field(default=0.15, gt=0, lt=1)
    """Share of the data for the test; of the train folder, where there is one."""
    skip_broken: bool = False
    """Leave unreadable images out and name them, instead of stopping at the first."""
    workers: int = Field(default=2, ge=0)
    """Processes that augment images; 0: augment in the training process."""
    quantize: Literal["none", "int8"] = "none"
    """int8 publishes a quantised model, if it is faster and loses at most 0.5 points of accuracy."""

    def card_settings(self) -> dict[str, str | int | float | bool | None]:
        """As in `RunSettings`; of a file of weights the name."""
        return {**super().card_settings(), "weights": Path(self.weights).name}


class PretrainedSettings(Settings):
    """Settings of `python -m training pretrained`."""

    backbone: str
    """Network: a torchvision name such as resnet18, or timm/NAME."""
    output: Path
    """Model repository to publish to; made where it does not exist."""
    name: str = ""
    """Name of the model in the repository; default: the backbone's."""
    version: int | None = Field(default=None, ge=1)
    """Version to publish as; default: one more than the newest."""
    weights: str = "pretrained"
    """pretrained (from the library's hub), or a safetensors or torch file."""
    labels: Path | None = None
    """Text file with one label per line; default: the labels that the library has for its weights."""
    golden: list[Path] = []
    """Images for the golden samples; default: generated patterns."""
    licence: str = ""
    """Licence of the model; default: that of the library."""
    description: str = ""
    """One sentence for the model's card."""


class QuantizeSettings(Settings):
    """Settings of `python -m training quantize`."""

    model: Path
    """The model.onnx of a published float32 version."""
    data: list[Path] = Field(min_length=1)
    """What the model was trained on; its test part is found by the seed in the card."""
    int8: bool = False
    """Weights and activations in 8 bits, for a CPU: image models only. Published if it is faster here."""
    fp16: bool = False
    """Half precision, for a GPU."""
    max_drop: float = Field(default=0.005, ge=0, lt=1)
    """What it may lose on the test part: of an accuracy the difference, of an error the part that it grows by."""
    output: Path | None = None
    """Model repository to publish to; default: that of the model."""
    name: str = ""
    """Name of the model in the repository; default: the same."""
    version: int | None = Field(default=None, ge=1)
    """Version to publish as; default: one more than the newest."""

    @model_validator(mode="after")
    def _one_precision(self) -> QuantizeSettings:
        if self.int8 == self.fp16:
            raise ValueError("give one of --int8 and --fp16")
        return self
