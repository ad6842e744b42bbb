"""Holes that other servers had, where no other test looks at them; docs/operations.md lists them all."""

from __future__ import annotations

import asyncio
import pickle
import re
from pathlib import Path

import grpc
import pytest

import service
import zoo
from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from service.models.entry import State
from tests.service.calls import Calls, failure
from tests.service.conftest import Serve, add_plain

UNPICKLES = re.compile(
    r"^\s*(import|from) (pickle|dill|cloudpickle|joblib|marshal|shelve)\b|allow_pickle=True|\b(eval|exec)\(", re.M
)
FETCHES = re.compile(r"^\s*(import|from) (urllib\.request|http\.client|requests|httpx|aiohttp|ftplib)\b", re.MULTILINE)


class Bomb:
    """Whoever unpickles it writes a file."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, tuple[Path, bytes]]:
        return Path.write_bytes, (self._target, b"owned")


async def test_nothing_is_unpickled(serve: Serve, tmp_path: Path) -> None:
    target = tmp_path / "owned"
    bomb = pickle.dumps(Bomb(target))
    add_plain(tmp_path / "models", "affine", bomb)
    calls = await serve(tmp_path / "models")
    assert calls.server.table.find("affine").state is State.FAILED
    assert (await failure(calls.classify_images(bomb))).code is grpc.StatusCode.NOT_FOUND
    assert not target.exists()
    pickle.loads(bomb)
    assert target.exists(), "it would have gone off"


async def test_an_image_that_is_a_pickle_is_no_image(calls: Calls, tmp_path: Path) -> None:
    got = await failure(calls.classify_images(pickle.dumps(Bomb(tmp_path / "owned"))))
    assert got.info.reason == "IMAGE_INVALID"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("pattern", [UNPICKLES, FETCHES], ids=["unpickle", "fetch"])
def test_no_module_of_the_server_can(pattern: re.Pattern[str]) -> None:
    files = [path for package in (service, zoo) for path in Path(str(package.__file__)).parent.rglob("*.py")]
    assert len(files) > 100
    assert not [path for path in files if pattern.search(path.read_text()) and "client" not in path.parts]


async def test_urls_are_never_fetched(serve: Serve, repository: Path) -> None:
    connections = 0

    def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    calls = await serve(repository, control_mode="explicit", load_model=("*",), admin=True)
    listener = await asyncio.start_server(count, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/model.onnx"
    async with listener:
        await failure(calls.classify_images(url.encode()))
        await calls.classify_texts(url)
        await failure(calls.classify_texts("good", model=url))
        load = pb.RepositoryModelLoadRequest(model_name=url, repository_name=url)
        await failure(calls.inference.RepositoryModelLoad(load))
        load = pb.RepositoryModelLoadRequest(model_name="affine")
        load.parameters["config"].string_param = f'{{"default_model_filename": "{url}"}}'
        await failure(calls.inference.RepositoryModelLoad(load))
        register = pb.SystemSharedMemoryRegisterRequest(name="a", key=url, byte_size=1)
        await failure(calls.inference.SystemSharedMemoryRegister(register))
        await asyncio.sleep(0.05)
        assert connections == 0
        _, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        await asyncio.sleep(0.05)
        writer.close()
        assert connections == 1, "the listener would have noticed"


async def test_a_compressed_message_is_not_unpacked_beyond_the_limit(serve: Serve) -> None:
    calls = await serve(max_message_mib=1)
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(
        calls.server.address, options=options, compression=grpc.Compression.Gzip
    ) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = pb.ModelInferRequest(model_name="affine", raw_input_contents=[bytes(80 * 2**20)])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(request)  # 80 KiB on the wire
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in str(caught.value.details())
    assert await calls.status() == "SERVING"
