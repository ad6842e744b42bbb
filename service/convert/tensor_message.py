"""The tensor API: a ModelInferRequest off the wire, cut in two.

What comes anew with every request, its id and its raw contents, is taken from the bytes as it is. The rest is the
head: a caller sends the same one again and again, so the last few are kept, parsed and checked. protobuf, in whose
Python objects each field has its price, sees a head once, and raw contents never.

The wire format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from inference.grpc_service_pb2 import ModelInferRequest
from service.backend.contract import Signature
from service.convert.tensor_parameters import FINAL_RESPONSE, Parameters, read_parameters
from service.convert.tensor_places import Places, read_places
from service.convert.tensor_reader import Limits
from service.convert.tensor_requests import Form
from service.errors import InvalidTensorError
from service.models.sequences import Step

_LENGTH_DELIMITED = 2
"""The wire type of texts, bytes and messages; no field of the request is of another."""
_ID, _RAW = (
    ModelInferRequest.DESCRIPTOR.fields_by_name[name].number << 3 | _LENGTH_DELIMITED
    for name in ("id", "raw_input_contents")
)
_HEAD_TAGS = {field.number << 3 | _LENGTH_DELIMITED for field in ModelInferRequest.DESCRIPTOR.fields} - {_ID, _RAW}
_LARGE_BYTES = 65536
"""Raw contents of this size are not copied; of smaller ones a copy costs less than looking at them where they are."""
_MAX_KEPT_HEADS = 256
_MAX_KEPT_BYTES = 1024
"""A larger head holds values of its tensors, which will hardly come again."""


class Head:
    """What a request says beside its id and raw contents. Never changed, as many requests may share it."""

    def __init__(self, message: ModelInferRequest) -> None:
        self.message = message
        self._known: tuple[Signature, int, Form] | None = None

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters.

        Raises:
            InvalidTensorError: as `read_parameters`.
        """
        return read_parameters(self.message)

    @cached_property
    def places(self) -> Places | None:
        """The tensors in shared memory; None: there are none.

        Raises:
            InvalidTensorError: as `read_places`.
        """
        return read_places(self.message)

    @cached_property
    def step(self) -> Step | None:
        """The step that the request is, for those who look for its model; None also where `parameters` will refuse."""
        try:
            return self.parameters.step
        except InvalidTensorError:
            return None

    @cached_property
    def wants_final_response(self) -> bool:
        """Whether the caller wants to be told which response is the last one to its request."""
        given = self.message.parameters
        return FINAL_RESPONSE in given and given[FINAL_RESPONSE].bool_param

    def form(self, signature: Signature, limits: Limits, max_rows: int) -> Form:
        """How tensors are read, for the model that answers; what was checked for it once is not checked again.

        Raises:
            InvalidTensorError: as `Form`.
        """
        if self._known is None or self._known[0] is not signature or self._known[1] != max_rows:
            self._known = signature, max_rows, Form(self.message, signature, limits, max_rows)
        return self._known[2]


@dataclass(frozen=True, slots=True)
class TensorRequest:
    """One request."""

    head: Head
    id: str
    raw: Sequence[bytes | memoryview]


class TensorRequestParser:
    """Reads serialized ModelInferRequests."""

    def __init__(self) -> None:
        self._kept = lru_cache(_MAX_KEPT_HEADS)(_parse_head)

    def parse(self, data: bytes) -> TensorRequest:
        """Read one.

        Raises:
            DecodeError: it is none.
        """
        try:
            head, request_id, raw = _cut(data)
            parse_head = self._kept if len(head) <= _MAX_KEPT_BYTES else _parse_head
            return TensorRequest(parse_head(head), request_id.decode(), raw)
        except ValueError:  # protobuf knows what to do with what is unusual, and what to say about what is wrong
            return _parse_whole(data)


def _parse_head(head: bytes) -> Head:
    return Head(ModelInferRequest.FromString(head))


def _parse_whole(data: bytes) -> TensorRequest:
    message = ModelInferRequest.FromString(data)
    raw, request_id = list(message.raw_input_contents), message.id
    message.ClearField("raw_input_contents")
    message.ClearField("id")
    return TensorRequest(Head(message), request_id, raw)


def _cut(data: bytes) -> tuple[bytes, bytes, list[bytes | memoryview]]:
    """Cut a message into its head, its id and its raw contents.

    Raises:
        ValueError: it has fields that are none of a request, or is broken.
    """
    pieces: list[bytes] = []
    raw: list[bytes | memoryview] = []
    request_id, position, size = b"", 0, len(data)
    while position < size:
        tag, (length, start) = data[position], _length(data, position + 1)
        end = start + length
        if end > size:
            raise ValueError("a field is longer than its message")
        if tag == _RAW:
            raw.append(data[start:end] if length < _LARGE_BYTES else memoryview(data)[start:end])
        elif tag == _ID:
            request_id = data[start:end]
        elif tag in _HEAD_TAGS:
            pieces.append(data[position:end])
        else:
            raise ValueError("an unknown field")
        position = end
    return b"".join(pieces), request_id, raw


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A varint, seven bits in each byte, the lowest first: its value, and where it ends."""
    value = shift = 0
    for index in range(position, min(position + 5, len(data))):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise ValueError("a length without an end")
