"""Batches of few sizes only, for devices that prepare themselves for each size that they meet.

cuDNN and cuBLAS choose their algorithms, TensorRT its engine and a CUDA graph its addresses by the number of rows; the
first request of a new one would wait for that. So batches are padded to sizes that were run before the model serves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.backend.contract import Backend, Device, Signature, Tensors


def batch_sizes(most: int) -> tuple[int, ...]:
    """Powers of two up to `most`, and `most` itself: padding at most doubles the rows."""
    return (*(2**power for power in range((most - 1).bit_length())), most)


class PaddedBackend:
    """A backend with a batch axis whose runs have one of some sizes; a larger batch is run as it is.

    Rows that are added repeat the last one: that is a row which the model is known to take, and one that leaves the
    range of the values as it is, which models with dynamic quantisation measure over the batch. Nobody sees them.
    """

    def __init__(self, backend: Backend, sizes: Sequence[int]) -> None:
        self._backend = backend
        self._sizes = sorted(sizes)

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self._backend.signature

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self._backend.device

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        """Run the graph once; `outputs` empty: all.

        Raises:
            InferenceError: the engine refused or failed.
        """
        rows = len(next(iter(inputs.values())))
        size = next((size for size in self._sizes if size >= rows), rows)
        if rows in (0, size):
            return self._backend.run(inputs, outputs)
        padded = {name: _pad(value, size - rows) for name, value in inputs.items()}
        return {name: _cut(value, size, rows) for name, value in self._backend.run(padded, outputs).items()}

    def shrink(self) -> None:
        """Have the next run give back the memory that runs work in."""
        self._backend.shrink()

    def close(self) -> None:
        """Give memory back; no run may follow."""
        self._backend.close()


def _pad(value: NDArray[np.generic], missing: int) -> NDArray[np.generic]:
    return np.concatenate([value, np.repeat(value[-1:], missing, axis=0)])


def _cut(value: NDArray[np.generic], size: int, rows: int) -> NDArray[np.generic]:
    """The rows that were asked for; what has not a row for each is left as it is, for the batcher to refuse."""
    return value[:rows] if value.ndim and len(value) == size else value
