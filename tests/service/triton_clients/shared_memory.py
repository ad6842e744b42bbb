"""Run by test_protocol_clients: python shared_memory.py ADDRESS. Tensors of requests lie in system shared memory."""

from __future__ import annotations

import sys
import uuid

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm
from refusals import refused
from tritonclient.utils import serialize_byte_tensor

SIZE = 4096


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        assert "system_shared_memory" in client.get_server_metadata().extensions
        client.unregister_system_shared_memory()
        key = f"/menagerie-{uuid.uuid4()}"
        memory = shm.create_shared_memory_region("mine", key, SIZE, create_only=True)
        try:
            client.register_system_shared_memory("mine", key, SIZE)
            for check in (numbers, strings, status, errors):
                check(client, memory, key)
        finally:
            shm.destroy_shared_memory_region(memory)


def numbers(client: triton.InferenceServerClient, memory: shm.SharedMemoryRegion, key: str) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    shm.set_shared_memory_region(memory, [x], offset=64)
    answer = client.infer("affine", [shared("x", [2, 3], "FP32", x.nbytes, 64)], outputs=[wanted("y", 1024, 512)])
    output = answer.get_output("y")
    assert (output.datatype, list(output.shape)) == ("FP32", [2, 3])
    np.testing.assert_array_equal(shm.get_contents_as_numpy(memory, np.float32, output.shape, 512), 2 * x + 1)
    answer = client.infer("affine", [shared("x", [2, 3], "FP32", x.nbytes, 64)])
    np.testing.assert_array_equal(answer.as_numpy("y"), 2 * x + 1)


def strings(client: triton.InferenceServerClient, memory: shm.SharedMemoryRegion, key: str) -> None:
    x = np.array([["good", "좋아요"]], dtype=object)
    data = serialize_byte_tensor(x)
    shm.set_shared_memory_region(memory, [data])
    size = len(data.item())
    client.infer("words", [shared("x", [1, 2], "BYTES", size, 0)], outputs=[wanted("y", 1024, 2048)])
    got = shm.get_contents_as_numpy(memory, np.object_, [1, 2], 2048)
    assert [text.decode() for text in got.ravel()] == ["good", "좋아요"]


def status(client: triton.InferenceServerClient, memory: shm.SharedMemoryRegion, key: str) -> None:
    expected = {"name": "mine", "key": key, "byte_size": str(SIZE)}
    assert client.get_system_shared_memory_status("mine", as_json=True) == {"regions": {"mine": expected}}


def errors(client: triton.InferenceServerClient, memory: shm.SharedMemoryRegion, key: str) -> None:
    again = "shared memory region 'mine' already in manager"
    refused(lambda: client.register_system_shared_memory("mine", key, SIZE), again, "ALREADY_EXISTS")
    unable = "Unable to open shared memory region: '/nobody-made-this'"
    refused(lambda: client.register_system_shared_memory("other", "/nobody-made-this", 64), unable, "INVALID_ARGUMENT")
    outside = "Invalid offset + byte size for shared memory region: 'mine'"
    refused(lambda: client.infer("affine", [shared("x", [2, 3], "FP32", 24, SIZE)]), outside, "INVALID_ARGUMENT")
    client.unregister_system_shared_memory("mine")
    unknown = "Unable to find system shared memory region: 'mine'"
    refused(lambda: client.get_system_shared_memory_status("mine"), unknown, "NOT_FOUND")
    refused(lambda: client.infer("affine", [shared("x", [2, 3], "FP32", 24, 0)]), unknown, "NOT_FOUND")


def shared(name: str, shape: list[int], datatype: str, size: int, offset: int) -> triton.InferInput:
    asked = triton.InferInput(name, shape, datatype)
    asked.set_shared_memory("mine", size, offset)
    return asked


def wanted(name: str, size: int, offset: int) -> triton.InferRequestedOutput:
    output = triton.InferRequestedOutput(name)
    output.set_shared_memory("mine", size, offset)
    return output


if __name__ == "__main__":
    main(sys.argv[1])
