"""Loss and score of a forecaster in standard deviations, so that targets of different units count alike."""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError


class ScaledMeanAbsoluteError(MeanAbsoluteError):
    """Mean absolute error of forecasts [.., targets].

    Args:
        std_T: standard deviation of each target, of the training part.
    """

    def __init__(self, std_T: Tensor) -> None:
        super().__init__()
        self.register_buffer("std_T", std_T)
        self.std_T: Tensor

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        super().update((preds / self.std_T).reshape(-1), (target / self.std_T).reshape(-1))


class ScaledLoss(nn.Module):
    """Mean absolute error: what users see, and steadier than squares; arguments as above."""

    def __init__(self, std_T: Tensor) -> None:
        super().__init__()
        self.register_buffer("std_T", std_T)
        self.std_T: Tensor

    def forward(self, forecast: Tensor, future: Tensor) -> Tensor:
        """See the class."""
        return ((forecast - future).abs() / self.std_T).mean()
