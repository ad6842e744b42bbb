"""What a published image classifier computes beyond its network: views, temperature, class activation map."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.errors import BackboneError
from training.models.backbones import Backbone, find_head
from training.models.image import ImageClassifier
from training.models.maps import Place, last_maps, maps_at
from zoo.card import CLASS_ACTIVATION, LOGITS

TestTimeViews = Literal["none", "flip", "zoom"]
"""The image alone; it and its mirror image; both, and both of the centre, enlarged."""
_MARGIN = 1 / 16  # of each side, that the enlarged centre leaves out


class PooledHead(nn.Module):
    """A head over the means of feature maps: maps [N, C, h, w], classes [N] -> class activation map [N, h, w].

    The map of B. Zhou et al., https://arxiv.org/abs/1512.04150: the feature maps, weighted by the weights of the class.
    Its mean is the logit, but for the bias; what is above 0 speaks for the class.

    Args:
        backbone: in evaluation mode, on the CPU.

    Raises:
        BackboneError: its head is not of this kind.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.place, self.head = _find_pooled(backbone)

    def forward(self, maps: Tensor, classes: Tensor) -> Tensor:
        """See the class."""
        weights = self.head.weight if isinstance(self.head, nn.Linear) else torch.eye(maps.shape[1])
        activation: Tensor = (weights[classes][:, :, None, None] * maps).sum(1)
        return activation


class PublishedClassifier(nn.Module):
    """uint8 [N, H, W, 3] -> logits [N, K], and the class activation map of the most probable class where it is wanted.

    Args:
        classifier: trained.
        views: what the network looks at, test-time augmentation; the logits are their mean.
        pooled: its head, for class activation maps; None: none are wanted. Of several views they are the mean of those
            of the whole image.
        temperature: the logits are divided by it, see `training.evaluation.calibration`.
    """

    def __init__(
        self,
        classifier: ImageClassifier,
        *,
        views: TestTimeViews = "none",
        pooled: PooledHead | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.views = views
        self.pooled = pooled
        self.register_buffer("temperature", torch.tensor(temperature))
        self.temperature: Tensor

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return (LOGITS, CLASS_ACTIVATION) if self.pooled else (LOGITS,)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Classify."""
        views = self._look_at(self.classifier.normalise(image))
        network, stacked = self.classifier.network, views[0] if len(views) == 1 else torch.cat(views)
        if self.pooled is None:
            return (self._mean(network(stacked), len(views)),)
        with maps_at(network, self.pooled.place) as seen:
            logits = self._mean(network(stacked), len(views))
        return logits, self.pooled(_aligned(seen[0], len(views)), logits.argmax(1))

    def _look_at(self, images: Tensor) -> list[Tensor]:
        """The views of images [N, 3, H, W]: the image itself first, its mirror image second."""
        views = [images]
        if self.views == "zoom":
            height, width = images.shape[2:]
            top, left = max(1, round(height * _MARGIN)), max(1, round(width * _MARGIN))
            centre = images[:, :, top:-top, left:-left]
            views.append(functional.interpolate(centre, (height, width), mode="bilinear", align_corners=False))
        if self.views != "none":
            mirrored = [view.flip(3) for view in views]
            views = [view for pair in zip(views, mirrored, strict=True) for view in pair]
        return views

    def _mean(self, logits: Tensor, views: int) -> Tensor:
        return logits.reshape(views, -1, logits.shape[1]).mean(0) / self.temperature


def _aligned(maps: Tensor, views: int) -> Tensor:
    """The mean of the maps of the views that show the whole image, [N, C, h, w]."""
    if views == 1:
        return maps
    plain, mirrored, *_ = maps.reshape(views, -1, *maps.shape[1:])
    return torch.stack([plain, mirrored.flip(3)]).mean(0)


def _find_pooled(backbone: Backbone) -> tuple[Place, nn.Module]:
    """The maps that the head takes the means of, and the head."""
    network, head, resize = backbone.network, find_head(backbone), backbone.preprocessing.resize
    example = torch.randn(2, 3, resize.height_px, resize.width_px, generator=torch.Generator().manual_seed(0))
    mode = network.training
    network.eval()
    try:
        place = last_maps(network, example)
        if place is not None and _is_pooled(network, head, place, example):
            return place, head
    finally:
        network.train(mode)
    raise BackboneError(
        f"{backbone.name} has no class activation map: its last layer does not take the means of feature maps; leave "
        f"out --cam, or take a network such as resnet18 or mobilenet_v2"
    )


def _is_pooled(network: nn.Module, head: nn.Module, place: Place, images: Tensor) -> bool:
    pooled: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _layer, inputs: pooled.append(inputs[0]))
    try:
        with maps_at(network, place) as seen, torch.no_grad():
            logits = network(images)
    finally:
        hook.remove()
    means = seen[0].mean((2, 3))
    # Of a head that is a convolution (SqueezeNet) the maps are those of the classes.
    taken = pooled[0].flatten(1) if isinstance(head, nn.Linear) else logits
    return taken.shape == means.shape and torch.allclose(taken, means, rtol=1e-3, atol=1e-3 * float(means.abs().max()))
