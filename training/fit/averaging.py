"""Averages of the weights over the training: what is evaluated and kept instead of the last weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.settings import FitSettings

_SWA_FROM = 0.75
"""Part of the epochs after which SWA begins to average; P. Izmailov et al., https://arxiv.org/abs/1803.05407."""


class Averaging(nn.Module):
    """The average of a model's weights and statistics.

    Args:
        model: that is trained.
        settings: `averaging` is ema or swa.
    """

    def __init__(self, model: nn.Module, settings: FitSettings) -> None:
        super().__init__()
        self.by_step = settings.averaging == "ema"
        self.first_epoch = int(_SWA_FROM * settings.epochs)
        average = _ema(settings.ema_decay) if self.by_step else None
        self.averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True).requires_grad_(False)

    def after_step(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        if self.by_step:
            self._take_in(model)

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take in the weights after an epoch, counted from 0."""
        if not self.by_step and epoch >= self.first_epoch:
            self._take_in(model)

    def _take_in(self, model: nn.Module) -> None:
        self.averaged.update_parameters(model)
        for average, buffer in zip(self.averaged.module.buffers(), model.buffers(), strict=True):
            if not buffer.is_floating_point():
                average.copy_(buffer)  # a mean of equal whole numbers may be less by one

    def model(self, trained: nn.Module) -> nn.Module:
        """The averaged model; before there is anything to average, the trained one."""
        return self.averaged.module if int(self.averaged.n_averaged) else trained


def _ema(decay: float) -> Callable[[Any, Any, Any], None]:
    """An exponential average that forgets the random weights of the first steps sooner, as timm does."""

    def update(averages: Any, current: Any, steps: Any) -> None:
        warm = min(decay, (1 + int(steps)) / (10 + int(steps)))
        get_ema_multi_avg_fn(warm)(averages, current, steps)  # type: ignore[no-untyped-call]

    return update
