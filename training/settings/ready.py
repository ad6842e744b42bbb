"""Settings of what works on ready models: publishing them as they are, and making them smaller."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from training.settings.base import Settings


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
    golden: list[Path] = Field(default=[])
    """Images for the golden samples; default: generated patterns."""
    licence: str = ""
    """Licence of the model; default: that of the library."""
    description: str = ""
    """One sentence for the model's card."""


class QuantizeSettings(Settings):
    """Settings of `python -m training quantize`."""

    model: Path
    """A published float32 model: its model.onnx, or the folder of its version, or of the model, whose newest version is
    taken."""
    data: list[Path] = Field(min_length=1)
    """What the model was trained on; its test part is found by the seed in the card."""
    int8: bool = False
    """8 bits, for a CPU: image models, and texts that an LSTM reads. Published if it is faster here."""
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

    runs: Path = Path("runs")
    """Folder of runs, whose test-uses.csv counts the looks at test parts."""

    @model_validator(mode="after")
    def _one_precision(self) -> QuantizeSettings:
        if self.int8 == self.fp16:
            raise ValueError("give one of --int8 and --fp16")
        return self


class VisualizeSettings(Settings):
    """Settings of `python -m training visualize`."""

    run: Path
    """Folder of a run of python -m training image."""
    images: list[Path] = Field(min_length=1)
    """Image files to look into."""
    output: Path | None = None
    """Folder for the PNG files; default: visuals in the run folder."""
