"""Settings of every command; the text under each field is its `--help`.

A task adds its own to those of every run by inheritance, so that one flat, validated model describes a whole run:
`class ImageSettings(RunSettings)`. No torch here, so that `--help` is quick.
"""

from training.settings.base import Settings
from training.settings.image import CompareSettings, ImageSettings
from training.settings.published import EnsembleSettings, EvaluateSettings
from training.settings.ready import PretrainedSettings, QuantizeSettings, VisualizeSettings
from training.settings.run import FitSettings, RunSettings
from training.settings.series import SeriesSettings
from training.settings.text import TextSettings

__all__ = [
    "CompareSettings",
    "EnsembleSettings",
    "EvaluateSettings",
    "FitSettings",
    "ImageSettings",
    "PretrainedSettings",
    "QuantizeSettings",
    "RunSettings",
    "SeriesSettings",
    "Settings",
    "TextSettings",
    "VisualizeSettings",
]
