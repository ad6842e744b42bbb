"""What a graph takes and gives: its tensors in the words of the protocol, and its batch axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.backend import bfloat16
from service.backend.contract import Signature, TensorSpec
from zoo.errors import PackageError

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    bfloat16.BFLOAT16: "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}

Axes = tuple[str, str, tuple[int | str | None, ...]]
"""Name, datatype and shape of a tensor, whose free axes have a name or None."""


def read_axes(node: Any) -> Axes:
    """An input or output of a session.

    Raises:
        PackageError: it cannot be sent.
    """
    if node.type not in _DATATYPES:
        raise PackageError(
            f"{node.name!r} is a {node.type}, which cannot be sent; export tensors of {', '.join(_DATATYPES.values())}"
        )
    return node.name, _DATATYPES[node.type], tuple(node.shape)


def make_signature(inputs: Sequence[Axes], outputs: Sequence[Axes]) -> Signature:
    """Describe a graph and find its batch axis."""
    max_batch = _max_batch(inputs, outputs)
    return Signature(
        tuple(_spec(axes, batched=max_batch != 0) for axes in inputs),
        tuple(_spec(axes, batched=max_batch != 0) for axes in outputs),
        max_batch,
    )


def _max_batch(inputs: Sequence[Axes], outputs: Sequence[Axes]) -> int | None:
    """The batch axis is the first one, if it is free in all tensors, and one and the same in all inputs; or 1 in all
    tensors, for a graph that was exported for single rows."""
    shapes = [shape for _, _, shape in (*inputs, *outputs)]
    if not inputs or not all(shapes):
        return 0
    first = [shape[0] for shape in shapes]
    if all(axis == 1 for axis in first):
        return 1
    names = {axis for axis in first[: len(inputs)] if axis is not None}
    free = not any(isinstance(axis, int) for axis in first)
    return None if free and len(names) <= 1 else 0


def _spec(axes: Axes, *, batched: bool) -> TensorSpec:
    name, datatype, shape = axes
    free = [axis if isinstance(axis, int) else -1 for axis in shape]
    return TensorSpec(name, datatype, (-1, *free[1:]) if batched else tuple(free))
