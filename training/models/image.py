"""An image classifier that takes pixels as they come from a decoded image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.backbones import Backbone


class ImageClassifier(nn.Module):
    """A network together with its normalisation: uint8 [N, H, W, 3] -> what the network gives."""

    offset: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.network = backbone.network
        mean, std = (
            torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.preprocessing.mean, backbone.preprocessing.std)
        )
        self.register_buffer("offset", mean * 255, persistent=False)
        self.register_buffer("scale", 1 / (std * 255), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits [N, K]; in training mode of some networks a tuple with those of auxiliary heads."""
        output: Tensor = self.network(self.normalise(image))
        return output

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, H, W], channels last in memory, as the network expects it."""
        return (image.permute(0, 3, 1, 2).to(torch.float32) - self.offset) * self.scale


class Head(nn.Module):
    """The last layer, with dropout before it, and the pooling behind it where it is a convolution (SqueezeNet)."""

    def __init__(self, layer: nn.Module, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [N, K] from what the layer gets."""
        outputs: Tensor = self.layer(self.dropout(inputs))
        return outputs if outputs.ndim == 2 else outputs.relu().mean((2, 3))
