"""System shared memory that is gone, is none, or is not to be had: callers get an error, and nobody is hurt."""

from __future__ import annotations

import os
import uuid
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import InvalidRegionError
from service.security.tokens import Role
from service.shared_memory import MAX_NAME, MAX_REGIONS, Place, Regions
from tests.service.calls import Calls, failure, infer_request, numbers
from tests.service.conftest import Serve
from tests.service.shared_regions import (
    FOLDER,
    SIZE,
    X,
    held,
    memory,
    needs_folder,
    put,
    refusal,
    register,
    registered,
    share,
    shared_request,
    sharing,
    unregister,
)
from tests.service.test_access import TOKENS, bearer, tokens

__all__ = ["memory", "sharing", "tokens"]

pytestmark = needs_folder


async def test_memory_that_became_shorter(sharing: Calls, memory: SharedMemory) -> None:
    reading = shared_request(offset=SIZE - 24)
    writing = infer_request("affine", {"x": X}, ["y"])
    share(writing.outputs[0], 24, SIZE - 24)
    for request in (reading, writing):
        await sharing.inference.ModelInfer(request)
    for length in (SIZE - 1, 10, 0):
        os.truncate(FOLDER / memory.name, length)
        for request in (reading, writing):
            got = await refusal(sharing, request)
            assert (got.code, got.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REGION")
            assert "is not what it was when it was registered" in got.message
        assert (FOLDER / memory.name).stat().st_size == length, "the server does not make it longer"
    os.truncate(FOLDER / memory.name, SIZE)
    await sharing.inference.ModelInfer(reading)
    own = held(memory) - 1
    await unregister(sharing)
    assert held(memory) == own, "what failed keeps nothing"


@pytest.mark.parametrize(
    "key", ["", "/", ".", "..", "/..", "//x", "a/b", "../etc/passwd", "/dev/shm/x", "x\0y", "n" * 256, "nobody-made-it"]
)
async def test_keys_that_are_no_memory(sharing: Calls, key: str) -> None:
    got = await failure(register(sharing, "another", key))
    assert (got.code, got.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REGION")
    assert got.message.startswith(f"Unable to open shared memory region: '{key}'")
    assert list(got.violations) == ["key"]
    assert "another" not in await registered(sharing)


async def test_links_pipes_and_folders_are_not_opened(sharing: Calls, tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.write_bytes(bytes(64))
    path = FOLDER / f"menagerie-test-{uuid.uuid4()}"
    for make in (lambda: path.symlink_to(target), lambda: os.mkfifo(path), path.mkdir):
        make()
        try:
            got = await failure(register(sharing, "another", path.name, size=1))
        finally:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        assert got.message.startswith("Unable to open shared memory region")


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 0), (0, SIZE + 1), (1, SIZE), (SIZE, 1), (2**64 - 1, 1), (1, 2**64 - 1), (2**63, 2**63)]
)
async def test_a_region_must_be_in_its_memory(sharing: Calls, memory: SharedMemory, offset: int, size: int) -> None:
    own = held(memory)
    got = await failure(register(sharing, "another", memory.name, offset, size))
    assert got.info.reason == "INVALID_REGION"
    assert got.message.startswith("failed to register shared memory region 'another': invalid args")
    assert held(memory) == own, "what was refused is closed"


async def test_a_tensor_must_be_in_its_region(sharing: Calls) -> None:
    for offset in (SIZE - 23, SIZE, 2**63 - 1):
        got = await refusal(sharing, shared_request(offset=offset))
        assert got.info.reason == "INVALID_REGION"
        assert got.message.startswith("Invalid offset + byte size for shared memory region: 'mine'")
    got = await refusal(sharing, shared_request(size=20))
    assert got.message == "input byte size mismatch for input 'x' for model 'affine'. Expected 24, got 20"
    request = infer_request("affine", {"x": X}, ["y"])
    share(request.outputs[0], 23)
    got = await refusal(sharing, request)
    assert got.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "for output 'y' (23 bytes) should be at least 24 bytes to hold the results" in got.message


async def test_parameters_that_do_not_fit_together(sharing: Calls) -> None:
    async def text(change: Any) -> str:
        request = shared_request()
        change(request, request.inputs[0].parameters)
        got = await refusal(sharing, request)
        assert got.code is grpc.StatusCode.INVALID_ARGUMENT
        return got.message

    both = "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'x'"
    assert await text(lambda _, given: given.pop("shared_memory_byte_size")) == both
    alone = "'shared_memory_byte_size' can not be specified without 'shared_memory_region' parameter for tensor 'x'"
    assert await text(lambda _, given: given.pop("shared_memory_region")) == alone
    for name, kind, value in (
        ("shared_memory_region", "int64_param", 1),
        ("shared_memory_byte_size", "string_param", "24"),
        ("shared_memory_offset", "bool_param", True),
    ):
        got = await text(lambda _, given, name=name, kind=kind, value=value: setattr(given[name], kind, value))
        assert got.startswith(f"invalid value type for '{name}' parameter for tensor 'x', expected ")
    negative = await text(lambda _, given: setattr(given["shared_memory_offset"], "int64_param", -1))
    assert negative == "'shared_memory_offset' of tensor 'x' is -1; send a positive number"
    twice = await text(lambda request, _: request.inputs[0].contents.fp32_contents.extend(range(6)))
    assert twice == "unexpected 'content' provided when using shared memory for input tensor 'x' for model 'affine'"
    surplus = await text(lambda request, _: request.raw_input_contents.append(X.tobytes()))
    assert "got 1 raw_input_contents for 0 inputs" in surplus


async def test_shared_inputs_count_among_the_bytes_of_requests(serve: Serve) -> None:
    calls = await serve(system_shared_memory=True, max_message_mib=1, max_inflight_mib=1)
    large = SharedMemory(create=True, size=2 * 2**20)
    try:
        await register(calls, "mine", large.name, size=2 * 2**20)
        # Together with the message itself, one MiB is more than may be in flight.
        for size, reason in ((2**20 + 1, "MESSAGE_TOO_LARGE"), (2**20, "TOO_MANY_BYTES")):
            for _ in range(3):
                got = await refusal(calls, shared_request(size=size))
                assert (got.code, got.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
        got = await refusal(calls, shared_request(size=2**20 - 1000))
        assert got.info.reason == "INVALID_TENSOR", "what was refused is given back"
    finally:
        large.close()
        large.unlink()


async def test_too_many_regions(sharing: Calls, memory: SharedMemory) -> None:
    own = held(memory) - 1
    for number in range(MAX_REGIONS - 1):
        await register(sharing, f"region {number}", memory.name)
    got = await failure(register(sharing, "one more", memory.name))
    assert (got.code, got.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REGIONS")
    await unregister(sharing, "region 0")
    await register(sharing, "one more", memory.name)
    assert held(memory) == own + MAX_REGIONS
    await unregister(sharing)
    assert held(memory) == own
    for name in ("", "n" * (MAX_NAME + 1)):
        assert (await failure(register(sharing, name, memory.name))).info.reason == "INVALID_REGION"


async def test_it_is_off_by_default(calls: Calls, memory: SharedMemory) -> None:
    got = await failure(register(calls, "mine", memory.name))
    assert (got.code, got.info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED")
    assert "--system-shared-memory" in got.message
    writing = infer_request("affine", {"x": X}, ["y"])
    share(writing.outputs[0], 24)
    for request in (shared_request(), writing):
        got = await refusal(calls, request)
        assert got.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "--system-shared-memory" in got.message
    await unregister(calls)
    assert await registered(calls) == {}


async def test_with_tokens_only_admins_register(serve: Serve, tokens: Path, memory: SharedMemory) -> None:
    calls = await serve(system_shared_memory=True, tokens=tokens)
    for role in (Role.PREDICT, Role.READ):
        got = await failure(register(calls, "mine", memory.name, metadata=bearer(TOKENS[role])))
        assert got.info.reason == "ROLE_MISSING"
    await register(calls, "mine", memory.name, metadata=bearer(TOKENS[Role.ADMIN]))
    put(memory, X.tobytes())
    answer = await calls.inference.ModelInfer(shared_request(), metadata=bearer(TOKENS[Role.PREDICT]))
    assert numbers(answer)["y"].any()


SIZES = st.one_of(st.integers(0, 200), st.integers(0, 2**64 - 1), st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 200))
def test_any_place_is_read_and_written_whole_or_refused(
    memory: SharedMemory, offset: int, size: int, at: int, count: int, left: int
) -> None:
    """With any numbers in the requests, and whatever is left of the memory by then."""
    path = FOLDER / memory.name
    content = bytes(range(100)) * 2
    path.write_bytes(content)
    regions = Regions()
    try:
        regions.register("mine", memory.name, offset, size)
        space = regions.space(Place("x", "inputs[0]", "mine", at, count))
        os.truncate(path, left)
        assert bytes(space.read()) == content[offset + at : offset + at + count]
        space.write(b"!" * count)
        assert offset + at + count <= left
        assert path.read_bytes() == (content[: offset + at] + b"!" * count + content[offset + at + count :])[:left]
    except InvalidRegionError:
        assert not 0 < size <= 200 - offset or at + count > size or offset + at + count > left
