"""A recurrent forecaster that takes and gives physical units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.recurrent import CellKind, Recurrent


class Forecaster(nn.Module):
    """History [N, window, F] -> forecast [N, horizon, targets], both in physical units; targets come first in F.

    All steps are forecast at once (direct multi-step), as the sum of a linear map of the target's own past, which
    starts as a naive forecast, and a recurrent network that reads the past in segments (S. Lin et al., "SegRNN",
    2023): a week of hours is 7 steps of 24 then, which trains faster and remembers better than 168 steps of one.

    Args:
        mean_F: of the training part.
        std_F: of the training part; positive.
        window: steps of past.
        horizon: steps of future.
        targets: number of columns to forecast.
        naive_lag: the linear map starts as "the same as so many steps before"; at most the window.
        cell, hidden_size, layers, dropout: of the recurrent layers.
        segment: steps that the cell reads at once; divides the window.
    """

    def __init__(
        self,
        mean_F: Tensor,
        std_F: Tensor,
        *,
        window: int,
        horizon: int,
        targets: int,
        naive_lag: int = 1,
        cell: CellKind = "gru",
        hidden_size: int = 128,
        layers: int = 1,
        segment: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.register_buffer("mean_F", mean_F)
        self.register_buffer("std_F", std_F)
        self.mean_F: Tensor
        self.std_F: Tensor
        self.window, self.horizon, self.targets, self.segment = window, horizon, targets, segment
        self.embed = nn.Sequential(nn.Linear(segment * len(mean_F), hidden_size), nn.ReLU())
        self.recurrent = Recurrent(cell, hidden_size, hidden_size, layers=layers, dropout=dropout)
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, horizon * targets),
        )
        self.linear = nn.Linear(window, horizon)
        _start_naive(self.linear, naive_lag)

    def forward(self, history_NTF: Tensor) -> Tensor:
        """Forecast."""
        scaled_NTF = (history_NTF - self.mean_F) / self.std_F
        segments_NSF = scaled_NTF.reshape(-1, self.window // self.segment, self.segment * scaled_NTF.shape[2])
        state_NH = self.recurrent(self.embed(segments_NSF))[:, -1]
        learned_NHT = self.head(state_NH).reshape(-1, self.horizon, self.targets)
        linear_NHT = self.linear(scaled_NTF[:, :, : self.targets].transpose(1, 2)).transpose(1, 2)
        forecast_NHT: Tensor = (linear_NHT + learned_NHT) * self.std_F[: self.targets] + self.mean_F[: self.targets]
        return forecast_NHT


@torch.no_grad()
def _start_naive(linear: nn.Linear, lag: int) -> None:
    linear.weight.zero_()
    linear.bias.zero_()
    for step in range(linear.out_features):
        linear.weight[step, linear.in_features - lag + step % lag] = 1.0
