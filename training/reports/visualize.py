"""All drawings of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from training.errors import BackboneError, DataError, SettingsError
from training.pipelines.image.restore import restore_classifier
from training.reports.fonts import find_fonts
from training.reports.visuals import write_activation, write_feature_maps, write_kernels
from training.saying import say
from training.settings import VisualizeSettings
from zoo.errors import InputError
from zoo.image import prepare_image


def visualize(settings: VisualizeSettings, console: Console) -> list[Path]:
    """Write `kernels.png`, `features-*.png` of the first image and `activation.png` of all.

    Returns:
        The files.

    Raises:
        BackboneError: the network is not convolutional.
        DataError: an image cannot be read.
        SettingsError: the folder cannot be made.
        TrainingError: see `restore_classifier`.
    """
    classifier, backbone, classes = restore_classifier(settings.run, console)
    resize = backbone.preprocessing.resize
    arrays = []
    for path in settings.images:
        try:
            arrays.append(prepare_image(path.read_bytes(), resize))
        except (InputError, OSError) as exc:
            raise DataError(f"{path}: {exc}") from exc
    pixels = torch.from_numpy(np.stack(arrays))
    folder = settings.output or settings.run / "visuals"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"--output {folder} cannot be made: {exc.strerror}") from exc
    if not write_kernels(classifier, folder / "kernels.png"):
        raise BackboneError(f"{backbone.name} has no convolution over RGB; only convolutional networks can be drawn")
    if advice := find_fonts("".join(classes)).advice:
        say(console, advice, "yellow")
    activation = folder / "activation.png"
    write_activation(classifier, pixels, classes, activation)
    return [folder / "kernels.png", *write_feature_maps(classifier, pixels[:1], folder), activation]
