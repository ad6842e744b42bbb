"""From images to a published classifier."""

from training.pipelines.image.train import ImageOutcome, train_image

__all__ = ["ImageOutcome", "train_image"]
