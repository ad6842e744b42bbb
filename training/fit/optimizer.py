"""Parameter groups and the learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training.settings import FitSettings

ParameterGroup = dict[str, Any]
"""What a torch optimizer takes: `{"params": [...], "lr": 1e-4}`."""


def parameter_groups(
    parameters: Iterable[nn.Parameter], settings: FitSettings, *, rate_factor: float = 1.0
) -> list[ParameterGroup]:
    """Trainable parameters in two groups: matrices and filters; biases and norms, which by default do not decay."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    rate = settings.learning_rate * rate_factor
    small_decay = settings.weight_decay if settings.decay_all else 0.0
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "lr": rate, "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "lr": rate, "weight_decay": small_decay},
    ]
    return [group for group in groups if group["params"]]


def l1_penalty(groups: Sequence[ParameterGroup]) -> Tensor:
    """The sum of the absolute values of all matrices and filters."""
    return torch.stack([p.abs().sum() for group in groups for p in group["params"] if p.ndim > 1]).sum()


def rate_schedule(settings: FitSettings, steps: int) -> Callable[[int], float]:
    """The factor of the learning rate at each of `steps` steps."""
    warmup = int(settings.warmup_fraction * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "constant":
            return 1.0
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor
