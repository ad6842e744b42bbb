"""Near-duplicates among images: the same picture scaled, compressed or lightened anew, or taken a moment later.

Candidates are those whose perceptual hashes differ in few bits; a thumbnail of each, in colour, confirms them. On the
photographs of flowers5 and monkeys10 each pair that is found is one to the eye, too. Small figures in the middle of
nothing (MNIST, Fashion-MNIST) are this similar by nature, so that of these many are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.duplicates.overlap import Neighbour, Overlap

_MOST_BITS = 10  # of 64; two photographs of different things differ in 32, and hardly ever in less than 14
_LEAST_CORRELATION = 0.92
_HASH_PX, _HASH_SIDE, _THUMBNAIL_PX = 32, 8, 16


@dataclass(frozen=True)
class ImageSignatures:
    """What images are compared by."""

    hashes: NDArray[np.uint64]
    """[N]."""
    thumbnails: NDArray[np.float32]
    """[N, D], each of mean 0 per channel and of length 1, so that a product is a correlation."""
    digests: tuple[str, ...]
    """SHA-256 of the files, [N]."""

    def part(self, indexes: Sequence[int]) -> ImageSignatures:
        """Those of some images."""
        rows = np.asarray(indexes, np.int64)
        return ImageSignatures(self.hashes[rows], self.thumbnails[rows], tuple(self.digests[row] for row in rows))


def sign_images(pixels: Sequence[NDArray[np.uint8]], digests: Sequence[str]) -> ImageSignatures:
    """Signatures of images [height, width, 3] and the SHA-256 of their files."""
    images = [Image.fromarray(image) for image in pixels]
    return ImageSignatures(
        np.array([_perceptual_hash(image) for image in images], np.uint64),
        np.array([_thumbnail(image) for image in images], np.float32),
        tuple(digests),
    )


def image_overlap(held_out: ImageSignatures, others: ImageSignatures) -> Overlap:
    """Which of the one are near to which of the others."""
    nearest: dict[int, Neighbour] = {}
    found: set[int] = set()
    by_digest: dict[str, list[int]] = {}
    for index, digest in enumerate(others.digests):
        by_digest.setdefault(digest, []).append(index)
    for item, digest in enumerate(held_out.digests):
        candidates = np.flatnonzero(np.bitwise_count(others.hashes ^ held_out.hashes[item]) <= _MOST_BITS)
        correlations = others.thumbnails[candidates] @ held_out.thumbnails[item]
        near = {
            int(index): min(1.0, float(value))
            for index, value in zip(candidates, correlations, strict=True)
            if value >= _LEAST_CORRELATION
        } | dict.fromkeys(by_digest.get(digest, ()), 1.0)
        if near:
            best = max(near, key=near.__getitem__)
            nearest[item] = Neighbour(best, near[best])
            found |= near.keys()
    return Overlap(nearest, frozenset(found))


def _perceptual_hash(image: Image.Image) -> np.uint64:
    """Which of the lowest frequencies are above their median; the DCT hash, "pHash", of C. Zauner (2010)."""
    grey = np.asarray(image.convert("L").resize((_HASH_PX, _HASH_PX), Image.Resampling.BOX), np.float64)
    low = (_COSINES @ grey @ _COSINES.T).ravel()[1:]  # the first is the brightness
    return np.uint64(np.packbits(np.append(low > np.median(low), False)).view(np.uint64)[0])


def _thumbnail(image: Image.Image) -> NDArray[np.float32]:
    small = np.asarray(image.resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BOX), np.float32)
    flat = (small - small.mean((0, 1))).ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6))


def _cosines() -> NDArray[np.float64]:
    """The lowest rows of the discrete cosine transform."""
    steps, rows = np.arange(_HASH_PX), np.arange(_HASH_SIDE)[:, None]
    return np.asarray(np.cos(np.pi * (2 * steps + 1) * rows / (2 * _HASH_PX)))


_COSINES = _cosines()
