"""Files that a configuration names: labels, initial states, warm-up inputs. All of them lie in the model's folder."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.backend.contract import DTYPES
from zoo import byte_strings
from zoo.errors import PackageError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
MAX_TEXT_BYTES = 2**24
_MAX_TENSOR_BYTES = 2**30


def check_file_name(name: str, field: str) -> str:
    """Return the name of a file, if it leads nowhere else.

    Raises:
        PackageError: it is more than a name.
    """
    if not _NAME.fullmatch(name):
        text = f"{field}: {name!r} cannot name a file here; use letters, digits, '.', '_' and '-', and no folder"
        raise PackageError(text)
    return name


def read_file(folder: Path, name: str, field: str, *, within: str = "", max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Read a file of a model.

    Args:
        folder: of the model.
        name: of the file.
        field: that names it, for errors.
        within: the folder in the model's that it lies in.
        max_bytes: a larger file is refused.

    Raises:
        PackageError: the name leads elsewhere, or the file cannot be read.
    """
    path = folder / within / check_file_name(name, field)
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise PackageError(f"{field}: {name!r} is a link out of the model's folder; put the file itself there")
        if path.stat().st_size > max_bytes:
            raise PackageError(f"{field}: {name!r} has more than {max_bytes} bytes")
        return path.read_bytes()
    except OSError as exc:
        raise PackageError(f"{field}: {name!r} cannot be read: {exc.strerror}") from exc


def read_lines(folder: Path, name: str, field: str) -> tuple[str, ...]:
    """The lines of a text file, which are class names; empty ones at the end do not count."""
    try:
        text = read_file(folder, name, field).decode()
    except UnicodeDecodeError as exc:
        raise PackageError(f"{field}: {name!r} is not UTF-8 text") from exc
    return tuple(line.strip() for line in text.rstrip().split("\n"))  # not at U+2028 and the like


def read_tensor(
    folder: Path, within: str, name: str, field: str, datatype: str, shape: Sequence[int]
) -> NDArray[np.generic]:
    """A tensor in the raw form of requests: row-major, little-endian; strings with their length before them."""
    data = read_file(folder, name, field, within=within, max_bytes=_MAX_TENSOR_BYTES)
    count, dtype = math.prod(shape), DTYPES[datatype]
    if datatype == "BYTES":
        try:
            return byte_strings.decode(byte_strings.split(data, count), list(shape))
        except ValueError as exc:
            raise PackageError(f"{field}: {name!r} does not hold {count} strings: {exc}") from exc
    if len(data) != count * dtype.itemsize:
        text = f"{len(data)} bytes, {datatype} of shape {list(shape)} has {count * dtype.itemsize}"
        raise PackageError(f"{field}: {name!r} has {text}")
    return np.frombuffer(data, dtype).reshape(shape)
