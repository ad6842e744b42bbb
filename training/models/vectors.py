"""Pre-trained word vectors as initial embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.errors import WeightsError

_FIRST_ID = 2  # after padding and unknown
_KNOWN_STD, _OTHER_STD = 0.3, 0.1
"""Standard deviation of the loaded vectors, and of the random ones beside them, which know nothing yet."""


def load_vectors(embedding: nn.Embedding, vocabulary: Sequence[str], path: Path) -> int:
    """Overwrite the rows of known words, and make the other ones small.

    Vectors that are wider than the embedding are reduced to their principal components.

    Args:
        embedding: rows 2, 3, .. are the words of `vocabulary`.
        vocabulary: the words, in lower case.
        path: JSON `{"vectors": {word: [numbers]}}`, or without the outer level.

    Returns:
        How many words of the vocabulary the file has.

    Raises:
        WeightsError: the file cannot be understood, or has none of the words, or narrower vectors.
    """
    vectors = _read(path)
    found = [index for index, word in enumerate(vocabulary) if word in vectors]
    if not found:
        raise WeightsError(f"{path} has none of the {len(vocabulary)} known words; is it of another language?")
    try:
        matrix = np.array([vectors[vocabulary[index]] for index in found], np.float32)
    except ValueError as exc:
        raise WeightsError(f"{path}: its vectors are not equally long lists of numbers") from exc
    if matrix.ndim != 2 or matrix.shape[1] < embedding.embedding_dim:
        raise WeightsError(
            f"{path} has vectors of shape {list(matrix.shape[1:])}, embedding_size is {embedding.embedding_dim}; "
            "lower embedding_size"
        )
    rows = _reduce(matrix, embedding.embedding_dim)
    with torch.no_grad():
        embedding.weight.mul_(_OTHER_STD)
        embedding.weight[torch.tensor(found) + _FIRST_ID] = torch.from_numpy(rows)
    return len(found)


def _read(path: Path) -> dict[str, list[float]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as exc:
        raise WeightsError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # also wrong UTF-8
        raise WeightsError(f"{path} is not JSON: {exc}") from exc
    vectors = content.get("vectors", content) if isinstance(content, dict) else None
    if not isinstance(vectors, dict):
        raise WeightsError(f'{path} has no word vectors; expected {{"vectors": {{word: [numbers]}}}}')
    return {word.lower(): vector for word, vector in vectors.items()}


def _reduce(matrix: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    centred = matrix - matrix.mean(0)
    if matrix.shape[1] > width:
        left, strength, _ = np.linalg.svd(centred, full_matrices=False)
        centred = left[:, :width] * strength[:width]
        centred = np.pad(centred, ((0, 0), (0, width - centred.shape[1])))  # fewer words than components
    return np.asarray(centred / max(float(centred.std()), 1e-12) * _KNOWN_STD, np.float32)
