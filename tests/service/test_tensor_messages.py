"""Requests of the tensor API off the wire: what protobuf would read, however they were written."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from inference import grpc_service_pb2 as pb
from service.convert.tensor_message import TensorRequestParser
from tests.service import plain_graphs
from tests.service.calls import Calls, failure, infer_request, numbers, picture, until
from tests.service.conftest import Serve, add_plain
from zoo.byte_strings import encode

SMALL = st.binary(max_size=300)
NAMES = st.text(max_size=8)


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    length, out = len(data), b""
    while length >= 0x80:
        out += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + out + bytes([length]) + data


def tensor(name: str, shape: list[int], datatype: str) -> bytes:
    return pb.ModelInferRequest.InferInputTensor(name=name, shape=shape, datatype=datatype).SerializeToString()


TENSORS = st.builds(tensor, NAMES, st.lists(st.integers(-1, 300), max_size=3), st.sampled_from(["FP32", "BYTES"]))
FIELDS = st.one_of(
    st.builds(field, st.just(5), TENSORS),
    st.builds(field, st.just(7), SMALL),
    st.builds(lambda size: field(7, bytes(size)), st.integers(65_530, 65_540)),  # of another kind from 65,536 on
    st.builds(lambda number, text: field(number, text.encode()), st.integers(1, 3), NAMES),
    st.builds(field, st.integers(1, 12), SMALL),  # also what is no field, and what is no message or text
    st.just(b"\x78\x05"),  # field 15, a varint
)


def check(parser: TensorRequestParser, data: bytes) -> None:
    """What the parser makes of the bytes is what protobuf makes of them."""
    try:
        expected = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            parser.parse(data)
        return
    request = parser.parse(data)
    got = pb.ModelInferRequest()
    got.CopyFrom(request.head.message)
    assert not got.id
    assert not got.raw_input_contents
    got.id = request.id
    got.raw_input_contents.extend(map(bytes, request.raw))
    for message in (got, expected):
        message.DiscardUnknownFields()
    assert got == expected


@given(st.lists(FIELDS, max_size=8), st.integers(0, 12))
def test_what_protobuf_reads(fields: list[bytes], cut: int) -> None:
    data = b"".join(fields)
    parser = TensorRequestParser()
    for _ in range(2):  # a head that is known is no other
        check(parser, data)
    check(parser, data[: len(data) - cut])


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    check(TensorRequestParser(), data)


def test_a_long_length_is_no_reason_to_wait() -> None:
    for data in (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3a\xff\xff\xff\xff\x07", b"\x3a", b"\x3a\x80"):
        check(TensorRequestParser(), data)


async def test_a_known_head_is_checked_again_for_another_version(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine((-1, 3)))
    calls = await serve(tmp_path, control_mode="poll", poll_seconds=0.05)
    request = infer_request("affine", {"x": np.ones((1, 3), np.float32)})
    assert (await calls.inference.ModelInfer(request)).model_version == "1"
    add_plain(tmp_path, "affine", plain_graphs.affine((-1, 4)), version=2)
    await until(lambda: calls.server.table.get("affine").version == 2)
    error = await failure(calls.inference.ModelInfer(request))
    assert "Expected [-1,4], got [1,3]" in error.message


async def test_large_tensors_are_right_wherever_they_begin_in_the_message(serve: Serve, tmp_path: Path) -> None:
    """They are read where they are, which a processor, or ONNX Runtime, may not like at an odd address."""
    add_plain(tmp_path, "wide", plain_graphs.affine((-1, 50_000)))
    add_plain(tmp_path, "texts", plain_graphs.echo("BYTES"))
    calls = await serve(tmp_path)
    values = np.random.default_rng(0).normal(size=(2, 50_000)).astype(np.float32)
    for length in range(5):
        request = infer_request("wide", {"x": values})
        request.id = "x" * length
        (found,) = numbers(await calls.inference.ModelInfer(request)).values()
        np.testing.assert_array_equal(found, values * 2 + 1)
    texts = [["a" * 100_000, "\ud55c\uae00" * 20_000]]
    request = pb.ModelInferRequest(model_name="texts")
    request.inputs.add(name="x", datatype="BYTES", shape=[1, 2])
    request.raw_input_contents.append(encode(np.array(texts, dtype=object)))
    answer = await calls.inference.ModelInfer(request)
    assert list(answer.raw_output_contents) == list(request.raw_input_contents)


@contextmanager
def cyclic_garbage() -> Iterator[list[object]]:
    """What the collector of cycles finds of the server's own objects."""
    gc.collect()
    gc.disable()
    flags, found = gc.get_debug(), list[object]()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += [thing for thing in gc.garbage if type(thing).__module__.startswith(("service.", "inference"))]
    finally:
        gc.garbage.clear()
        gc.set_debug(flags)
        gc.enable()


async def test_answers_leave_nothing_to_the_collector_of_cycles(calls: Calls) -> None:
    """Its pauses are latency; and memory that waits for it is not in the processor's caches when it comes back."""
    request = infer_request("affine", {"x": np.ones((1, 3), np.float32)})
    await calls.inference.ModelInfer(request)
    with cyclic_garbage() as found:
        for _ in range(10):
            await calls.inference.ModelInfer(request)
            await calls.classify_images(picture(1))
            await calls.classify_texts("good")
    assert not found
