"""The model file: an ONNX file whose `metadata_props` hold the card.

An ONNX file is one Protocol Buffers message, `ModelProto` of onnx.proto: a sequence of (tag, value) fields, where a
long value follows its own length. So the metadata are read by hopping from field to field over the weights, in
microseconds and without the onnx package; and a card is added by appending a field, since a repeated field may stand
anywhere (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from zoo.card import CARD_KEY, Card, parse_card
from zoo.errors import PackageError

# Field numbers of ModelProto and StringStringEntryProto in onnx.proto.
_IR_VERSION, _GRAPH, _OPSET_IMPORT, _METADATA_PROPS = 1, 7, 8, 14
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_HIGHEST_FIELD = 25  # the newest onnx.proto uses 25; a far higher number means that this is no ONNX file


class _Field(NamedTuple):
    number: int
    wire_type: int
    start: int
    """Offset of the tag."""
    data: int
    """Offset of the value, after its length."""
    end: int


def read_card(path: Path) -> Card | None:
    """Read the card of a model file; None where it has none.

    Raises:
        PackageError: the file is not a complete ONNX file.
        CardError: the card is not valid.
    """
    text = read_metadata(path).get(CARD_KEY)
    return None if text is None else parse_card(text)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the `metadata_props` of an ONNX file without reading its weights.

    Raises:
        PackageError: the file is not a complete ONNX file.
    """
    try:
        with path.open("rb") as file:
            fields = _model_fields(file, path)
            return dict(_read_entry(file, field) for field in fields if field.number == _METADATA_PROPS)
    except OSError as exc:
        raise PackageError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (UnicodeDecodeError, EOFError) as exc:
        raise PackageError(f"{path}: its metadata are damaged: {exc}") from exc


def write_model(onnx_bytes: bytes, card: Card, destination: Path) -> None:
    """Write an ONNX model with its card to `destination`; on return the file is complete and on disk.

    Whatever goes wrong, no partial file is left under that name. A card that the model has already is replaced.
    """
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_without_card(onnx_bytes))
            file.write(_entry(CARD_KEY, card.to_json()))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)


def _without_card(onnx_bytes: bytes) -> bytes:
    file = io.BytesIO(onnx_bytes)
    cards = [
        field
        for field in _model_fields(file, Path("the exported model"))
        if field.number == _METADATA_PROPS and _read_entry(file, field)[0] == CARD_KEY
    ]
    for field in reversed(cards):
        onnx_bytes = onnx_bytes[: field.start] + onnx_bytes[field.end :]
    return onnx_bytes


def _model_fields(file: BinaryIO, path: Path) -> list[_Field]:
    size = file.seek(0, os.SEEK_END)
    try:
        fields = list(_fields(file, 0, size))
    except EOFError as exc:
        raise PackageError(f"{path}: not a complete ONNX file, {exc}; was it truncated?") from exc
    numbers = {field.number for field in fields}
    if not {_IR_VERSION, _GRAPH} <= numbers or max(numbers) > _HIGHEST_FIELD:
        raise PackageError(f"{path}: not an ONNX file ({size} bytes without an ONNX graph)")
    if _OPSET_IMPORT not in numbers:
        raise PackageError(f"{path}: an ONNX file without opset_import; re-export it with a current exporter")
    return fields


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    """Walk the fields of the message that lies from `start` to `end`; EOFError where it does not add up."""
    while start < end:
        file.seek(start)
        tag = _read_varint(file)
        wire_type = tag & 7
        if wire_type == _LENGTH:
            length = _read_varint(file)
        elif wire_type == _VARINT:
            _read_varint(file)
            length = 0
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise EOFError(f"byte {start} starts no field")
        data = file.tell()
        if data + length > end:
            raise EOFError(f"a field of {length} bytes at byte {data} runs past its end at byte {end}")
        yield _Field(tag >> 3, wire_type, start, data, data + length)
        start = data + length


def _read_varint(file: BinaryIO) -> int:
    value = shift = 0
    while shift < 64:
        byte = file.read(1)
        if not byte:
            raise EOFError("it ends inside a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    raise EOFError(f"byte {file.tell()} ends no number")


def _read_entry(file: BinaryIO, entry: _Field) -> tuple[str, str]:
    parts = {_KEY: "", _VALUE: ""}
    for field in list(_fields(file, entry.data, entry.end)):
        file.seek(field.data)
        parts[field.number] = file.read(field.end - field.data).decode()
    return parts[_KEY], parts[_VALUE]


def _entry(key: str, value: str) -> bytes:
    entry = _length_field(_KEY, key.encode()) + _length_field(_VALUE, value.encode())
    return _length_field(_METADATA_PROPS, entry)


def _length_field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
