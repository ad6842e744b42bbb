"""Images as a network gets them: augmented for training, and for evaluation exactly the pixels that
`zoo.image.prepare_image` gives to a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.data.images.reading import LabelledImages
from training.data.order import Draw
from zoo.card import IMAGE_INPUT, Resize
from zoo.golden import Tensors
from zoo.image import crop_image


class TrainingImages(Dataset[tuple[Tensor, int]]):
    """Augmented images, uint8 [H, W, 3], and the class.

    An item is a `Draw`, so that its augmentation depends on nothing else.
    """

    def __init__(
        self, images: LabelledImages, indexes: Sequence[int], resize: Resize, transform: Callable[[Tensor], Tensor]
    ) -> None:
        self.images = images
        self.indexes = indexes
        self.resize = resize
        self.transform = transform

    def __len__(self) -> int:
        return len(self.indexes)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        item, seed = draw
        index = self.indexes[item]
        image = torch.from_numpy(self.images.pixels[index]).permute(2, 0, 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            augmented = self.transform(image)
        return augmented.permute(1, 2, 0).contiguous(), self.images.items[index].label

    def plain(self, item: int) -> Tensor:
        """The image without augmentation, uint8 [H, W, 3]."""
        return torch.from_numpy(EvaluationImages(self.images, self.indexes, self.resize).pixels(item))


class EvaluationImages(Dataset[tuple[Tensor, int]]):
    """Images as a server prepares them; uint8 [H, W, 3] and the class."""

    def __init__(self, images: LabelledImages, indexes: Sequence[int], resize: Resize) -> None:
        self.images = images
        self.indexes = indexes
        self.resize = resize

    def __len__(self) -> int:
        return len(self.indexes)

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        index = self.indexes[item]
        return torch.from_numpy(self.pixels(item)), self.images.items[index].label

    def pixels(self, item: int) -> NDArray[np.uint8]:
        """The image alone."""
        return np.array(crop_image(Image.fromarray(self.images.pixels[self.indexes[item]]), self.resize))

    def batches(self, size: int) -> Iterator[tuple[Tensors, list[int]]]:
        """All images in order, as inputs of a graph."""
        for start in range(0, len(self), size):
            items = range(start, min(start + size, len(self)))
            classes = [self.images.items[self.indexes[item]].label for item in items]
            yield {IMAGE_INPUT: np.stack([self.pixels(item) for item in items])}, classes
