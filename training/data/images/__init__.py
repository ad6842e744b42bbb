"""Images: where they lie, reading them, and the batches for training and evaluation."""

from training.data.images.datasets import EvaluationImages, TrainingImages
from training.data.images.folders import SUFFIXES, ImageFile, list_images
from training.data.images.reading import LabelledImages, read_image_folder, split_images
from training.data.images.statistics import channel_statistics

__all__ = [
    "SUFFIXES",
    "EvaluationImages",
    "ImageFile",
    "LabelledImages",
    "TrainingImages",
    "channel_statistics",
    "list_images",
    "read_image_folder",
    "split_images",
]
