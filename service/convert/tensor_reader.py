"""The tensor API: one input of a request, checked and read. Nothing is allocated before it is checked.

Existing clients match the texts of these errors, so they are worded as in the servers that those clients know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from inference.grpc_service_pb2 import InferTensorContents, ModelInferRequest
from service.backend.contract import TensorSpec
from service.convert.tensor_places import REGION
from service.errors import InvalidTensorError
from service.settings import Settings
from zoo import byte_strings

InputTensor = ModelInferRequest.InferInputTensor

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the values of a datatype stand; FP16 has no field and comes raw only."""
_WIRE_DTYPES = {
    "bool_contents": np.bool_,
    "int_contents": np.int32,
    "int64_contents": np.int64,
    "uint_contents": np.uint32,
    "uint64_contents": np.uint64,
    "fp32_contents": np.float32,
    "fp64_contents": np.float64,
}
"""What a field holds: numpy would guess float64 for integers of which one needs all 64 bits, and round them."""


@dataclass(frozen=True)
class Limits:
    """How large the tensors of one request may be."""

    elements: int
    """Of one tensor."""
    rank: int
    string_bytes: int
    """Of one element of a string tensor."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the operator set them."""
        return cls(
            elements=settings.max_tensor_elements,
            rank=settings.max_tensor_rank,
            string_bytes=settings.max_string_bytes,
        )


class Reader:
    """Checks what one input is said to be, once, and reads its values, any number of times."""

    def __init__(
        self, model: str, index: int, raw_index: int, tensor: InputTensor, spec: TensorSpec, limits: Limits
    ) -> None:
        self._model = model
        self._field = f"inputs[{index}]"
        self.shared = REGION in tensor.parameters
        """Whether the values are in shared memory."""
        self._data_field = (
            f"inputs[{index}].parameters[{REGION}]" if self.shared else f"raw_input_contents[{raw_index}]"
        )
        self._tensor = tensor
        self._spec = spec
        self._limits = limits
        self._shape: tuple[int, ...] = ()
        """Once its length is checked: there may be millions of axes, the product of which would take minutes."""
        self._count = 0
        """Elements, once the shape is checked."""

    @property
    def rows(self) -> int:
        """The first axis."""
        return self._shape[0]

    def check(self, *, batched: bool) -> None:
        """Check datatype and shape."""
        name, spec = self._tensor.name, self._spec
        if (rank := len(self._tensor.shape)) > self._limits.rank:
            text = f"input '{name}' for model '{self._model}' has {rank} axes, the limit is {self._limits.rank}"
            raise InvalidTensorError(f"{self._field}.shape", text, reason="RANK_TOO_LARGE")
        self._shape = tuple(self._tensor.shape)
        if self._tensor.datatype != spec.datatype:
            got = self._tensor.datatype
            text = f"inference input '{name}' data-type is '{got}', but model '{self._model}' expects '{spec.datatype}'"
            raise InvalidTensorError(f"{self._field}.datatype", text)
        fits = len(self._shape) == len(spec.shape) and all(
            axis == wanted if wanted >= 0 else axis >= 0 for axis, wanted in zip(self._shape, spec.shape, strict=True)
        )
        if not fits or (batched and self._shape[0] < 1):
            expected, got = _dims(spec.shape), _dims(self._shape)
            text = f"unexpected shape for input '{name}' for model '{self._model}'. Expected {expected}, got {got}"
            raise InvalidTensorError(f"{self._field}.shape", text)
        # Python's integers do not overflow; empty tensors are counted without their empty axes, as numpy wants it.
        if math.prod(max(axis, 1) for axis in self._shape) > self._limits.elements:
            text = f"input '{name}' for model '{self._model}' has shape {_dims(self._shape)}, which is too large"
            text = f"{text}: the limit is {self._limits.elements} elements"
            raise InvalidTensorError(f"{self._field}.shape", text, reason="TENSOR_TOO_LARGE")
        self._count = math.prod(self._shape)

    def read_raw(self, data: bytes | memoryview) -> NDArray[np.generic]:
        """Read a raw buffer; numbers stay where they are."""
        if self._tensor.HasField("contents"):
            raise self._twofold()
        if self._spec.datatype == "BYTES":
            return self._strings(self._data_field, bytes(data))
        size = self._count * self._spec.dtype.itemsize
        if len(data) != size:
            text = (
                f"input byte size mismatch for input '{self._tensor.name}' for model '{self._model}'. "
                f"Expected {size}, got {len(data)}"
            )
            raise InvalidTensorError(self._data_field, text)
        if self._spec.datatype != "BOOL":
            found = np.frombuffer(data, self._spec.dtype).reshape(self._shape)
            return found if found.flags.aligned else found.copy()
        values = np.frombuffer(data, np.uint8)
        if values.max(initial=0) > 1:
            raise self._misfit(self._data_field, int(values.max()))
        return values.astype(np.bool_).reshape(self._shape)

    def read_contents(self) -> NDArray[np.generic]:
        """Read typed contents."""
        name, datatype, contents = self._tensor.name, self._spec.datatype, self._tensor.contents
        field = _CONTENTS.get(datatype)
        if field is None:
            text = f"input '{name}' for model '{self._model}' is {datatype}, which must come in raw_input_contents"
            raise InvalidTensorError(f"{self._field}.contents", text)
        self._check_fields(contents, field)
        values = getattr(contents, field)
        if len(values) != self._count:
            text = (
                f"input '{name}' for model '{self._model}' has {len(values)} values in {field}, "
                f"its shape {_dims(self._shape)} has {self._count}"
            )
            raise InvalidTensorError(f"{self._field}.contents", text)
        if datatype == "BYTES":
            return self._decode(f"{self._field}.contents", values)
        return self._narrow(f"{self._field}.contents", np.array(values, _WIRE_DTYPES[field])).reshape(self._shape)

    def _check_fields(self, contents: InferTensorContents, wanted: str) -> None:
        for descriptor, _ in contents.ListFields():
            if descriptor.name != wanted:
                text = f"input '{self._tensor.name}' for model '{self._model}' is {self._spec.datatype}"
                text = f"{text}: its values belong into {wanted}, not {descriptor.name}"
                raise InvalidTensorError(f"{self._field}.contents.{descriptor.name}", text)

    def _narrow(self, field: str, values: NDArray[np.generic]) -> NDArray[np.generic]:
        dtype = self._spec.dtype
        if dtype.kind in "iu" and values.size:
            limits = np.iinfo(dtype.name)
            for extreme in (int(values.min()), int(values.max())):
                if not limits.min <= extreme <= limits.max:
                    raise self._misfit(field, extreme)
        return values.astype(dtype)

    def _strings(self, field: str, data: bytes) -> NDArray[np.generic]:
        try:
            elements = byte_strings.split(data, self._count)
        except ValueError as exc:
            text = f"input '{self._tensor.name}' for model '{self._model}' is not a BYTES tensor: {exc}"
            raise InvalidTensorError(field, text) from exc
        return self._decode(field, elements)

    def _decode(self, field: str, elements: Sequence[bytes]) -> NDArray[np.generic]:
        longest = max(map(len, elements), default=0)
        if longest > self._limits.string_bytes:
            text = f"input '{self._tensor.name}' for model '{self._model}' has an element of {longest} bytes"
            text = f"{text}, the limit is {self._limits.string_bytes}"
            raise InvalidTensorError(field, text, reason="STRING_TOO_LONG")
        try:
            return byte_strings.decode(elements, self._shape)
        except ValueError as exc:
            text = f"input '{self._tensor.name}' for model '{self._model}': {exc}"
            raise InvalidTensorError(field, text) from exc

    def _twofold(self) -> InvalidTensorError:
        whose = f"'{self._tensor.name}' for model '{self._model}'"
        if self.shared:
            text = f"unexpected 'content' provided when using shared memory for input tensor {whose}"
        else:
            text = f"contents field must not be specified when using raw_input_contents for {whose}"
        return InvalidTensorError(f"{self._field}.contents", text)

    def _misfit(self, field: str, value: int) -> InvalidTensorError:
        text = f"input '{self._tensor.name}' for model '{self._model}': {value} does not fit into {self._spec.datatype}"
        return InvalidTensorError(field, text)


def _dims(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
