"""Datatypes of configurations in the words of the protocol, and values that they ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.model_config_pb2 import DataType
from service.backend.contract import DTYPES
from zoo.errors import PackageError

_MAX_ELEMENTS = 2**28


def datatype_name(value: int, field: str) -> str:
    """ "FP32" for TYPE_FP32, "BYTES" for TYPE_STRING.

    Raises:
        PackageError: it is no type that tensors have here.
    """
    known = value in DataType.values()
    name = DataType.Name(DataType.ValueType(value)).removeprefix("TYPE_").replace("STRING", "BYTES") if known else ""
    if name not in DTYPES:
        raise PackageError(f"{field}: {name or value!r} is not a datatype of this server; it has {', '.join(DTYPES)}")
    return name


def fixed_shape(dims: Sequence[int], field: str) -> tuple[int, ...]:
    """The shape of values that a configuration gives.

    Raises:
        PackageError: a size is left open, or there are too many values.
    """
    if any(axis < 1 for axis in dims) or math.prod(dims) > _MAX_ELEMENTS:
        raise PackageError(f"{field} is {list(dims)}; sizes must be positive, with {_MAX_ELEMENTS} values at most")
    return tuple(dims)


def zeros(datatype: str, shape: Sequence[int]) -> NDArray[np.generic]:
    """Zeros; empty strings."""
    return np.full(shape, "", object) if datatype == "BYTES" else np.zeros(shape, DTYPES[datatype])


def random_values(datatype: str, shape: Sequence[int], random: np.random.Generator) -> NDArray[np.generic]:
    """Numbers from 0 to 1; integers are 0 or 1, which most graphs take, also as indices."""
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return zeros(datatype, shape)
    return (random.random(shape) if dtype.kind == "f" else random.integers(0, 2, shape)).astype(dtype)
