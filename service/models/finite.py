"""What a model answers has to be numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.backend.contract import Signature, Tensors
from service.errors import InferenceError, NotANumberError


class NanCheck:
    """Refuses outputs that are no numbers, if the operator wants that."""

    def __init__(self, graph: Signature, *, refuse: bool) -> None:
        """Of a graph's outputs; without `refuse` all are let through."""
        self._refuse = refuse
        self._bfloat16 = {spec.name for spec in graph.outputs if spec.datatype == "BF16"}

    def __call__(self, outputs: Tensors) -> None:
        """Raise NotANumberError where an output holds NaN."""
        for name, value in outputs.items() if self._refuse else ():
            if _has_nan(value, bfloat16=name in self._bfloat16):
                raise NotANumberError(name)


def finite(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values, or InferenceError where one is infinite or NaN."""
    if not np.isfinite(values).all():
        raise InferenceError("the output is not finite")
    return values


def _has_nan(values: NDArray[Any], *, bfloat16: bool) -> bool:
    if bfloat16:  # its bits: an exponent of ones, and a mantissa that is not zero
        return bool(((values & 0x7FFF) > 0x7F80).any())
    return values.dtype.kind == "f" and bool(np.isnan(values).any())
