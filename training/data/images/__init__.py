"""Images: the forms of data sets, reading them, and the batches for training and evaluation."""

from training.data.images.datasets import EvaluationImages, TrainingImages
from training.data.images.items import ImageItem, ImageListing
from training.data.images.reading import LabelledImages, image_groups, read_images, split_images
from training.data.images.statistics import channel_statistics

__all__ = [
    "EvaluationImages",
    "ImageItem",
    "ImageListing",
    "LabelledImages",
    "TrainingImages",
    "channel_statistics",
    "image_groups",
    "read_images",
    "split_images",
]
