"""Shared memory of a caller's, and requests whose tensors are in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from tests.service.calls import Calls, Failure, failure
from tests.service.conftest import Serve

FOLDER = Path("/dev/shm")
SIZE = 4096
X = np.arange(6, dtype=np.float32).reshape(2, 3)

needs_folder = pytest.mark.skipif(not FOLDER.is_dir(), reason="a system without /dev/shm")


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    """Shared memory of a caller's."""
    memory = SharedMemory(create=True, size=SIZE)
    yield memory
    memory.close()
    memory.unlink()


@pytest.fixture
async def sharing(serve: Serve, memory: SharedMemory) -> Calls:
    """A server that has registered that memory as "mine"."""
    calls = await serve(system_shared_memory=True)
    await register(calls, "mine", memory.name)
    return calls


async def register(calls: Calls, name: str, key: str, offset: int = 0, size: int = SIZE, **call: Any) -> None:
    request = pb.SystemSharedMemoryRegisterRequest(name=name, key=key, offset=offset, byte_size=size)
    await calls.inference.SystemSharedMemoryRegister(request, **call)


async def registered(calls: Calls, name: str = "") -> dict[str, tuple[str, int, int]]:
    answer = await calls.inference.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(name=name))
    return {name: (region.key, region.offset, region.byte_size) for name, region in answer.regions.items()}


def held(memory: SharedMemory) -> int:
    """How many files of this process are that memory: the test's own, and those of the server."""
    return sum(os.path.realpath(file) == str(FOLDER / memory.name) for file in Path("/proc/self/fd").iterdir())


async def unregister(calls: Calls, name: str = "") -> None:
    await calls.inference.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name=name))


def share(tensor: Any, size: int, offset: int = 0, region: str = "mine") -> None:
    """Say that a tensor of a request is in shared memory."""
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = size
    if offset:
        tensor.parameters["shared_memory_offset"].int64_param = offset


def put(memory: SharedMemory, data: bytes, offset: int = 0) -> None:
    memory.buf[offset : offset + len(data)] = data


def shared_request(size: int = X.nbytes, offset: int = 0, region: str = "mine") -> pb.ModelInferRequest:
    """A request to the model "affine" for x in shared memory."""
    request = pb.ModelInferRequest(model_name="affine")
    share(request.inputs.add(name="x", datatype="FP32", shape=[2, 3]), size, offset, region)
    return request


async def infer(calls: Calls, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return await calls.inference.ModelInfer(request)


async def refusal(calls: Calls, request: pb.ModelInferRequest) -> Failure:
    return await failure(calls.inference.ModelInfer(request))
