"""A recurrent forecaster that takes and gives physical units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from training.models.recurrent import CellKind, Recurrent

Level = Literal["none", "mean", "last"]
"""What of a window its targets are measured from."""


class Scaler(nn.Module):
    """Physical units [.., F] to what a network reads [.., size], and forecasts of the targets back.

    Args:
        offset_F: subtracted from each column; targets come first.
        scale_F: what each column is then divided by; positive.
        periods: columns that run in a circle, such as hours of a day, and where they begin again; none is a target.
            They become sine and cosine, behind all other columns.
    """

    def __init__(self, offset_F: Tensor, scale_F: Tensor, periods: Mapping[int, float] | None = None) -> None:
        super().__init__()
        cyclic = sorted(periods or {})
        self.plain = [column for column in range(len(offset_F)) if column not in cyclic]
        self.cyclic = cyclic
        self.size = len(self.plain) + 2 * len(cyclic)
        self.register_buffer("offset_P", offset_F[self.plain])
        self.register_buffer("scale_P", scale_F[self.plain])
        self.register_buffer("frequency_C", torch.tensor([2 * math.pi / (periods or {})[column] for column in cyclic]))
        self.offset_P: Tensor
        self.scale_P: Tensor
        self.frequency_C: Tensor

    def forward(self, history: Tensor) -> Tensor:
        """Scale."""
        if not self.cyclic:
            scaled: Tensor = (history - self.offset_P) / self.scale_P
            return scaled
        plain = (history[..., self.plain] - self.offset_P) / self.scale_P
        angles = history[..., self.cyclic] * self.frequency_C
        return torch.cat([plain, angles.sin(), angles.cos()], dim=-1)

    def back(self, forecast: Tensor) -> Tensor:
        """Targets [.., targets] in physical units."""
        targets = forecast.shape[-1]
        return forecast * self.scale_P[:targets] + self.offset_P[:targets]


@dataclass(frozen=True, kw_only=True)
class RecurrentLayers:
    """The recurrent layers of a forecaster; as wide as what they read.

    Args:
        cell, hidden_size, layers, recurrent_dropout: as of `Recurrent`.
        dropout: between the layers, and behind them.
    """

    cell: CellKind = "gru"
    hidden_size: int = 128
    layers: int = 1
    dropout: float = 0.1
    recurrent_dropout: float = 0.0

    def build(self) -> Recurrent:
        """New ones."""
        return Recurrent(
            *(self.cell, self.hidden_size, self.hidden_size),
            layers=self.layers,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
        )


class DirectNetwork(nn.Module):
    """Scaled past [N, window, size] -> [N, horizon, targets]: all steps at once from the state after the last segment.

    A week of hours is 7 segments of 24, which trains faster and remembers better than 168 steps of one (S. Lin et al.,
    "SegRNN", 2023).

    Args:
        size: columns.
        horizon: steps of future.
        targets: number of columns to forecast.
        layers: that read the segments.
        segment: steps that the cell reads at once; divides the window.
    """

    def __init__(
        self,
        size: int,
        horizon: int,
        targets: int,
        *,
        layers: RecurrentLayers,
        segment: int = 1,
    ) -> None:
        super().__init__()
        self.horizon, self.targets, self.segment = horizon, targets, segment
        self.embed = nn.Sequential(nn.Linear(segment * size, layers.hidden_size), nn.ReLU())
        self.recurrent = layers.build()
        self.head = _head(layers, horizon * targets)

    def forward(self, scaled_NTF: Tensor) -> Tensor:
        """Forecast."""
        states_NSH = self.recurrent(_embed_segments(self.embed, scaled_NTF, self.segment))
        forecast_NHT: Tensor = self.head(states_NSH[:, -1]).reshape(-1, self.horizon, self.targets)
        return forecast_NHT


class EncoderDecoder(nn.Module):
    """The same, step by step: a decoder goes on from the state of the encoder and knows which step it is at.

    The decoder reads a learned vector for each step instead of its last answer: so errors do not feed themselves, there
    is nothing to force in training, and the whole future is one fused kernel. Arguments as of `DirectNetwork`.
    """

    def __init__(
        self,
        size: int,
        horizon: int,
        targets: int,
        *,
        layers: RecurrentLayers,
        segment: int = 1,
    ) -> None:
        super().__init__()
        self.segment = segment
        self.embed = nn.Sequential(nn.Linear(segment * size, layers.hidden_size), nn.ReLU())
        self.encoder, self.decoder = layers.build(), layers.build()
        self.steps = nn.Parameter(torch.randn(horizon, layers.hidden_size) / math.sqrt(layers.hidden_size))
        self.head = _head(layers, targets)

    def forward(self, scaled_NTF: Tensor) -> Tensor:
        """Forecast."""
        _, state = self.encoder.carry(_embed_segments(self.embed, scaled_NTF, self.segment))
        steps_NHE = self.steps.unsqueeze(0).expand(scaled_NTF.shape[0], -1, -1)
        forecast_NHT: Tensor = self.head(self.decoder.carry(steps_NHE, state)[0])
        return forecast_NHT


class Forecaster(nn.Module):
    """History [N, window, F] -> forecast [N, horizon, targets], both in physical units; targets come first in F.

    All steps are forecast without reading each other, as the sum of a linear map of the target's own past, which starts
    as a naive forecast, and a recurrent network.

    Args:
        scaler: of the columns.
        network: scaled past -> scaled forecast; with `shared`, of one target and the other columns. None: the linear
            map is all (A. Zeng et al., "Are transformers effective for time series forecasting?", 2023).
        window: steps of past.
        horizon: steps of future.
        targets: number of columns to forecast.
        naive_lag: the linear map starts as "the same as so many steps before"; at most the window.
        moving_level: measure the targets of each window from their own mean or their last value, which forgives a level
            that moves (T. Kim et al., "Reversible instance normalization", 2022; without its scale).
        shared: the network reads one target at a time.
    """

    def __init__(
        self,
        scaler: Scaler,
        network: nn.Module | None,
        *,
        window: int,
        horizon: int,
        targets: int,
        naive_lag: int = 1,
        moving_level: Level = "none",
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.targets = targets
        self.moving_level: Level = moving_level
        self.shared = shared
        self.scaler = scaler
        self.network = network
        self.linear = nn.Linear(window, horizon)
        _start_naive(self.linear, naive_lag)

    def forward(self, history_NTF: Tensor) -> Tensor:
        """Forecast."""
        scaled_NTF = self.scaler(history_NTF)
        past_NTT, others = scaled_NTF[:, :, : self.targets], scaled_NTF[:, :, self.targets :]
        level_N1T = self._level(past_NTT)
        past_NTT = past_NTT - level_N1T
        forecast_NHT = level_N1T + self.linear(past_NTT.transpose(1, 2)).transpose(1, 2)
        if self.network is not None:
            forecast_NHT = forecast_NHT + self._learned(self.network, past_NTT, others)
        return self.scaler.back(forecast_NHT)

    def _level(self, past_NTT: Tensor) -> Tensor:
        if self.moving_level == "none":
            return torch.zeros_like(past_NTT[:, :1])
        return past_NTT[:, -1:] if self.moving_level == "last" else past_NTT.mean(1, keepdim=True)

    def _learned(self, network: nn.Module, past_NTT: Tensor, others_NTO: Tensor) -> Tensor:
        if not self.shared:
            together_NHT: Tensor = network(torch.cat([past_NTT, others_NTO], dim=2))
            return together_NHT
        steps, count = past_NTT.shape[1], others_NTO.shape[2]
        own_NTT1 = past_NTT.transpose(1, 2).unsqueeze(3)
        others = others_NTO.unsqueeze(1).expand(-1, self.targets, -1, -1)
        items = torch.cat([own_NTT1, others], dim=3).reshape(-1, steps, 1 + count)
        forecast_NTH: Tensor = network(items).reshape(past_NTT.shape[0], self.targets, -1)
        return forecast_NTH.transpose(1, 2)


def _head(layers: RecurrentLayers, outputs: int) -> nn.Sequential:
    size = layers.hidden_size
    return nn.Sequential(nn.Dropout(layers.dropout), nn.Linear(size, size), nn.ReLU(), nn.Linear(size, outputs))


def _embed_segments(embed: nn.Module, scaled_NTF: Tensor, segment: int) -> Tensor:
    _, steps, size = scaled_NTF.shape
    segments_NSE: Tensor = embed(scaled_NTF.reshape(-1, steps // segment, segment * size))
    return segments_NSE


@torch.no_grad()
def _start_naive(linear: nn.Linear, lag: int) -> None:
    linear.weight.zero_()
    linear.bias.zero_()
    for step in range(linear.out_features):
        linear.weight[step, linear.in_features - lag + step % lag] = 1.0
