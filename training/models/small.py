"""Small networks to train from scratch, for small images."""

from __future__ import annotations

from torch import Tensor, nn

SMALL_NETWORKS = ("small_cnn", "small_cnn_plain", "mlp")
DEFAULT_SIZE_PX = 32
_WIDTHS = (32, 64, 128)
_HIDDEN = 256


def make_small(name: str, classes: int, size_px: int) -> nn.Module:
    """One of `SMALL_NETWORKS`: [N, 3, size, size] -> logits [N, classes].

    Args:
        name: small_cnn; the same without batch norm (small_cnn_plain); or mlp.
        classes: number of outputs.
        size_px: height and width of the images.
    """
    return Perceptron(classes, size_px) if name == "mlp" else SmallCnn(classes, batch_norm=name == "small_cnn")


class SmallCnn(nn.Module):
    """Three stages of two 3x3 convolutions, each halving the image, then the mean of what is left; 290,000 weights."""

    def __init__(self, classes: int, *, batch_norm: bool) -> None:
        super().__init__()
        stages = [_stage(before, width, batch_norm) for before, width in zip((3, *_WIDTHS), _WIDTHS, strict=False)]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(_WIDTHS[-1], classes)

    def forward(self, image: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.head(self.dropout(self.pool(self.stages(image)).flatten(1)))
        return logits


class Perceptron(nn.Module):
    """Two hidden layers over all pixels; it knows nothing of neighbourhood."""

    def __init__(self, classes: int, size_px: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * size_px**2, _HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.2),
        )
        self.head = nn.Linear(_HIDDEN, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.head(self.layers(image.flatten(1)))
        return logits


def _stage(before: int, width: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2))
