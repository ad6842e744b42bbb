"""Memory that stays between runs, so that no run has to ask for its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from service.backend.driver import load_driver
from service.errors import DeviceError

log = logging.getLogger(__name__)

Allocate = Callable[[int], NDArray[np.uint8]]
"""So many bytes of new memory."""

LARGEST_BYTES = 64 * 2**20
"""A tensor larger than this is not kept: page-locked memory is taken from every other program."""


class Buffers:
    """Named memory for one run at a time; a name keeps the largest that it ever needed."""

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._memory: dict[str, NDArray[np.uint8]] = {}

    def view(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> NDArray[np.generic]:
        """Memory as an array of this shape, with whatever was in it; it is another one's after the run."""
        count, kind = math.prod(shape), np.dtype(dtype)
        size = max(count * kind.itemsize, 1)
        if size > LARGEST_BYTES:
            return np.empty(shape, kind)
        if name not in self._memory or len(self._memory[name]) < size:
            self._memory[name] = self._allocate(size)
        view: NDArray[np.generic] = self._memory[name][: count * kind.itemsize].view(kind).reshape(shape)
        return view


def page_locked(ordinal: int) -> Allocate:
    """Memory that a CUDA device copies from and to by itself; where there is no more of it, ordinary memory."""

    def allocate(size: int) -> NDArray[np.uint8]:
        try:
            return load_driver().page_locked(ordinal, size)
        except DeviceError as exc:
            log.warning("%d bytes of page-locked memory: %s; copies will be slower", size, exc)
            return np.empty(size, np.uint8)

    return allocate
