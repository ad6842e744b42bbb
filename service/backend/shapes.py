"""The shapes of outputs, known before a run, where a graph names its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.backend.contract import DTYPES, Tensors
from service.backend.signature import Axes

Shape = tuple[int, ...]


class OutputShapes:
    """Works out the shapes of outputs from those of inputs."""

    def __init__(self, inputs: Sequence[Axes], outputs: Sequence[Axes]) -> None:
        self._inputs = {name: axes for name, _, axes in inputs}
        self._outputs = {name: axes for name, _, axes in outputs}
        self._dtypes = {name: DTYPES[datatype] for name, datatype, _ in outputs}

    def dtype(self, output: str) -> np.dtype[np.generic]:
        """What an output consists of."""
        return self._dtypes[output]

    @property
    def all_known(self) -> bool:
        """Whether the shapes of all outputs follow from those of the inputs."""
        axes = {axis for inputs in self._inputs.values() for axis in inputs if axis}
        return all(isinstance(axis, int) or axis in axes for outputs in self._outputs.values() for axis in outputs)

    def of(self, inputs: Tensors) -> dict[str, Shape]:
        """Shapes by output, of those that follow from the inputs."""
        sizes: dict[int | str | None, int] = {}
        for name, value in inputs.items():
            sizes.update(zip(self._inputs.get(name, ()), value.shape, strict=False))
        shapes = {}
        for name, axes in self._outputs.items():
            found = [axis if isinstance(axis, int) else sizes.get(axis) if axis else None for axis in axes]
            known = tuple(size for size in found if size is not None)
            if len(known) == len(found):
                shapes[name] = known
        return shapes

    def check(self, expected: Mapping[str, Shape], got: Mapping[str, NDArray[np.generic]]) -> None:
        """Believe no output again that a run gave another shape than was expected: its axes have wrong names."""
        for name, value in got.items():
            if name in expected and expected[name] != value.shape:
                self._outputs.pop(name, None)
