"""String tensors on the wire: each element a little-endian uint32 length and then its bytes, row-major, UTF-8."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")


def encode(values: NDArray[np.generic]) -> bytes:
    """Put a tensor of str (or bytes) on the wire."""
    parts = []
    for value in values.ravel().tolist():
        data = value if isinstance(value, bytes) else str(value).encode()
        parts += [_LENGTH.pack(len(data)), data]
    return b"".join(parts)


def split(data: bytes, count: int) -> list[bytes]:
    """Cut `count` elements out of a raw buffer.

    Raises:
        ValueError: the lengths do not add up; the text says how.
    """
    elements, position = [], 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(data):
            raise ValueError(f"the buffer of {len(data)} bytes ends before element {index} of {count}")
        (length,) = _LENGTH.unpack_from(data, position)
        position = start + length
        if position > len(data):
            raise ValueError(f"element {index} has {length} bytes, but {len(data) - start} are left in the buffer")
        elements.append(data[start:position])
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes are left over after {count} elements")
    return elements


def decode(elements: Iterable[bytes], shape: Sequence[int]) -> NDArray[np.object_]:
    """Make a tensor of str.

    Raises:
        ValueError: an element is not UTF-8; the text says which.
    """
    texts = []
    for index, element in enumerate(elements):
        try:
            texts.append(element.decode())
        except UnicodeDecodeError as exc:
            raise ValueError(f"element {index} is not UTF-8 at its byte {exc.start}") from exc
    tensor = np.empty(len(texts), dtype=object)
    tensor[:] = texts
    return tensor.reshape(shape)
