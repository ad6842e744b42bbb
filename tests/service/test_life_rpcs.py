"""Loading and unloading over the wire, as operators do it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import numpy as np

from inference import grpc_service_pb2 as pb
from tests.service import plain_graphs
from tests.service.calls import Calls, failure
from tests.service.conftest import Serve, add_plain

X = np.ones((1, 3), np.float32)


async def _index(calls: Calls) -> list[tuple[str, str, str, str]]:
    response = await calls.inference.RepositoryIndex(pb.RepositoryIndexRequest())
    return [(row.name, row.version, row.state, row.reason) for row in response.models]


async def test_load_use_unload(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="explicit", admin=True)
    assert await _index(calls) == [("affine", "", "", "")]
    await calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="affine"))
    assert await _index(calls) == [("affine", "1", "READY", "")]
    assert (await calls.infer("affine", {"x": X}))["y"].tolist() == [[3, 3, 3]]
    await calls.inference.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="affine"))
    assert await _index(calls) == [("affine", "1", "UNAVAILABLE", "unloaded")]
    assert not (await calls.inference.ModelReady(pb.ModelReadyRequest(name="affine"))).ready
    assert (await failure(calls.infer("affine", {"x": X}))).code is grpc.StatusCode.UNAVAILABLE


async def test_a_load_that_fails_is_told_and_changes_nothing(serve: Serve, tmp_path: Path) -> None:
    file = add_plain(tmp_path, "affine", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="explicit", load_model=("*",), admin=True)
    file.write_bytes(b"broken")
    got = await failure(calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="affine")))
    assert got.code is grpc.StatusCode.INTERNAL
    assert got.message.startswith("failed to load 'affine', failed to poll from model repository")
    assert (await calls.infer("affine", {"x": X}))["y"].tolist() == [[3, 3, 3]]
    assert (await _index(calls))[0][2:] != ("READY", ""), "the index says that newer files are not in use"


async def test_a_configuration_of_the_call_counts_until_the_next_load(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="explicit", load_model=("affine",), admin=True)
    request = pb.RepositoryModelLoadRequest(model_name="affine")
    request.parameters["config"].string_param = json.dumps({"max_batch_size": "16"})
    asking = asyncio.gather(*(calls.infer("affine", {"x": X}) for _ in range(50)))
    await calls.inference.RepositoryModelLoad(request)
    assert len(await asking) == 50
    config = await calls.inference.ModelConfig(pb.ModelConfigRequest(name="affine"))
    assert config.config.max_batch_size == 16
    await calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="affine"))
    config = await calls.inference.ModelConfig(pb.ModelConfigRequest(name="affine"))
    assert config.config.max_batch_size != 16


async def test_control_is_refused_where_models_are_polled(serve: Serve, tmp_path: Path) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    calls = await serve(tmp_path, control_mode="poll", admin=True)
    got = await failure(calls.inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="affine")))
    assert (got.code, got.info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CONTROL_MODE")
