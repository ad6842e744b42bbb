"""A recurrent forecaster of a stream: one row in, a forecast and the state to go on from out."""

from __future__ import annotations

from torch import Tensor, nn

from training.models.recurrent import State
from training.models.series import RecurrentLayers, Scaler


class StreamForecaster(nn.Module):
    """Rows [N, T, F] -> a forecast after each of them [N, T, horizon, targets], physical units; targets come first.

    A forecast is the last value plus what a recurrent network says. In training the state goes on from one call to the
    next, without its gradient (truncated back-propagation through time).

    Args:
        scaler: of the columns.
        horizon: steps of future.
        targets: number of columns to forecast.
        layers: that read the rows.
    """

    def __init__(
        self,
        scaler: Scaler,
        *,
        horizon: int,
        targets: int,
        layers: RecurrentLayers,
    ) -> None:
        super().__init__()
        self.scaler = scaler
        self.horizon, self.targets = horizon, targets
        self.embed = nn.Sequential(nn.Linear(scaler.size, layers.hidden_size), nn.ReLU())
        self.recurrent = layers.build()
        self.head = nn.Sequential(nn.Dropout(layers.dropout), nn.Linear(layers.hidden_size, horizon * targets))
        self._carried: State | None = None

    def forward(self, rows_NTF: Tensor, fresh: Tensor) -> Tensor:
        """Forecast after each row.

        Args:
            rows_NTF: the rows after those of the call before, of the same N streams.
            fresh: bool; whether these are the first rows of the streams instead.
        """
        forecast, state = self.carry(rows_NTF, None if bool(fresh) else self._carried)
        self._carried = tuple(part.detach() for part in state)
        return forecast

    def carry(self, rows_NTF: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Forecast after each row, from a state; also give the state after the last one."""
        scaled_NTF = self.scaler(rows_NTF)
        states_NTH, state = self.recurrent.carry(self.embed(scaled_NTF), state)
        learned = self.head(states_NTH).unflatten(2, (self.horizon, self.targets))
        return self.scaler.back(scaled_NTF[:, :, None, : self.targets] + learned), state
