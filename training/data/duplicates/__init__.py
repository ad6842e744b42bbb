"""Items of different parts that are nearly the same: a test part that was learnt by heart measures nothing."""

from training.data.duplicates.images import ImageSignatures, image_overlap, sign_images
from training.data.duplicates.overlap import Neighbour, Overlap
from training.data.duplicates.texts import text_overlap

__all__ = ["ImageSignatures", "Neighbour", "Overlap", "image_overlap", "sign_images", "text_overlap"]
