"""What the server asks of the thing that runs a model, and how it speaks about tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.generic]]
"""Tensor name to values. String tensors are object arrays of str."""

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "BF16": np.dtype("<u2"),  # the bits, since numpy has no such type; before UINT16, to which <u2 belongs otherwise
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
"""Datatypes in the words of the Open Inference Protocol, and what they are in numpy."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph."""

    name: str
    datatype: str
    """A key of `DTYPES`."""
    shape: tuple[int, ...]
    """-1 for a free axis; where the model is batched, the first axis is the batch."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The datatype in numpy."""
        return DTYPES[self.datatype]


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int | None
    """Rows that one run may have: None is any number, 1 a graph that was exported for single rows, and 0 says that the
    model has no batch axis, so that every request is a run of its own."""

    def most_rows(self, limit: int) -> int:
        """Rows that one run may have, where `limit` counts for a model that takes any number; 0: no batch axis."""
        return limit if self.max_batch is None else self.max_batch

    def input(self, name: str) -> TensorSpec | None:
        """The input of that name."""
        return self._inputs.get(name)

    def output(self, name: str) -> TensorSpec | None:
        """The output of that name."""
        return self._outputs.get(name)

    @cached_property
    def _inputs(self) -> dict[str, TensorSpec]:
        return {spec.name: spec for spec in self.inputs}

    @cached_property
    def _outputs(self) -> dict[str, TensorSpec]:
        return {spec.name: spec for spec in self.outputs}


@dataclass(frozen=True)
class Device:
    """Where a model runs."""

    name: str
    """ "cpu" or "cuda:0"."""
    provider: str
    """The execution provider of ONNX Runtime in use."""
    note: str = field(default="", compare=False)
    """Why it is not a better one; empty: it is what was asked for."""

    @property
    def kind(self) -> str:
        """ "cpu" or "cuda"."""
        return self.name.partition(":")[0]

    @property
    def ordinal(self) -> int:
        """Which one of its kind."""
        return int(self.name.partition(":")[2] or 0)


class Backend(Protocol):
    """A model that is ready to run. Several threads may call `run` at a time."""

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        ...

    @property
    def device(self) -> Device:
        """Where it runs, found out after loading, not what was asked for."""
        ...

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        """Run the graph once; `outputs` empty: all.

        Raises:
            InferenceError: the engine refused or failed.
        """
        ...

    def shrink(self) -> None:
        """Have the next run give back, at its end, the memory that it and those before it worked in."""
        ...

    def close(self) -> None:
        """Give memory back; no run may follow."""
        ...
