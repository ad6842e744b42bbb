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


def load_vectors(embedding: nn.Embedding, vocabulary: Sequence[str], path: Path, *, frozen: bool = False) -> int:
    """Overwrite the rows of known words, and make the other ones small.

    Vectors that are wider than the embedding are reduced to their principal components.

    Args:
        embedding: rows 2, 3, .. are the words of `vocabulary`.
        vocabulary: the words, in lower case.
        path: JSON `{"vectors": {word: [numbers]}}`, or without the outer level; or lines `word number number ..`, as
            GloVe and word2vec write them.
        frozen: keep the vectors as they are in training; the other words have zeros then.

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
        embedding.weight.mul_(0.0 if frozen else _OTHER_STD)
        embedding.weight[torch.tensor(found) + _FIRST_ID] = torch.from_numpy(rows)
    embedding.weight.requires_grad_(not frozen)
    return len(found)


def _read(path: Path) -> dict[str, list[float]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise WeightsError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise WeightsError(f"{path} is not UTF-8; of word2vec, use the text format") from exc
    vectors = _read_json(path, text) if text.lstrip().startswith("{") else _read_lines(path, text)
    # Of "us" and "US" the former; of spellings with capitals alone the first, which in such files is the most frequent.
    lowered = {word.lower(): vector for word, vector in reversed(vectors.items())}
    return lowered | {word: vector for word, vector in vectors.items() if word == word.lower()}


def _read_json(path: Path, text: str) -> dict[str, list[float]]:
    try:
        content = json.loads(text)
    except ValueError as exc:
        raise WeightsError(f"{path} is not JSON: {exc}") from exc
    vectors = content.get("vectors", content)
    if not isinstance(vectors, dict):
        raise WeightsError(f'{path} has no word vectors; expected {{"vectors": {{word: [numbers]}}}}')
    return vectors


def _read_lines(path: Path, text: str) -> dict[str, list[float]]:
    """GloVe's format, or word2vec's, which begins with a line of two numbers: of words and of dimensions.

    A few tokens of GloVe's largest file have spaces in them (". . .").
    """
    vectors: dict[str, list[float]] = {}
    width = 0  # that of the first vector
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.rstrip().split(" ")
        if len(parts) < 2 or (number == 1 and len(parts) == 2):
            continue
        width = width or len(parts) - 1
        cut = max(1, len(parts) - width)
        try:
            vectors[" ".join(parts[:cut])] = [float(value) for value in parts[cut:]]
        except ValueError as exc:
            raise WeightsError(f"{path}, line {number}: expected a word and numbers: {exc}") from exc
    return vectors


def _reduce(matrix: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    centred = matrix - matrix.mean(0)
    if matrix.shape[1] > width:
        left, strength, _ = np.linalg.svd(centred, full_matrices=False)
        centred = left[:, :width] * strength[:width]
        centred = np.pad(centred, ((0, 0), (0, width - centred.shape[1])))  # fewer words than components
    return np.asarray(centred / max(float(centred.std()), 1e-12) * _KNOWN_STD, np.float32)
