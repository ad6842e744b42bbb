"""A classifier whose probabilities are as sure as it is right."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Calibrated(nn.Module):
    """A classifier with its logits divided by a temperature, see `training.evaluation.calibration`.

    Args:
        classifier: inputs -> logits [N, K].
        temperature: over 1 makes it less sure, below more; the order of the classes stays.
    """

    def __init__(self, classifier: nn.Module, temperature: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("temperature", torch.tensor(temperature))
        self.temperature: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.classifier(inputs) / self.temperature
        return logits
