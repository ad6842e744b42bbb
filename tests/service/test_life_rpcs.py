"""Loading and unloading over the wire, as operators do it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from inference import grpc_service_pb2 as pb
from inference import model_config_pb2
from tests.service import plain_graphs
from tests.service.calls import Calls, failure
from tests.service.conftest import Serve, add_plain
from tests.service.triton_layout import add_model

X = np.ones((1, 3), np.float32)
EXPLICIT = {"control_mode": "explicit", "admin": True}


def load_request(name: str, config: str = "") -> pb.RepositoryModelLoadRequest:
    """To load a model, with a configuration in JSON."""
    request = pb.RepositoryModelLoadRequest(model_name=name)
    if config:
        request.parameters["config"].string_param = config
    return request


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


async def test_the_configuration_beside_it_chooses_the_files(serve: Serve, tmp_path: Path) -> None:
    config = 'default_model_filename: "net.onnx" version_policy { specific { versions: [ 2 ] } }'
    add_model(tmp_path, "net", config, *[plain_graphs.affine()] * 3, file="net.onnx")
    calls = await serve(tmp_path, **EXPLICIT)
    await calls.inference.RepositoryModelLoad(load_request("net"))
    assert [entry.version for entry in calls.server.table.versions("net")] == [2]
    shown = (await calls.inference.ModelConfig(pb.ModelConfigRequest(name="net"))).config
    assert list(shown.version_policy.specific.versions) == [2]
    echo = json_format.MessageToJson(shown, preserving_proto_field_name=True)
    await calls.inference.RepositoryModelLoad(load_request("net", echo))
    for other in ('{"version_policy": {"all": {}}}', '{"default_model_filename": "model.onnx"}'):
        got = await failure(calls.inference.RepositoryModelLoad(load_request("net", other)))
        assert got.info.reason == "LOAD_FAILED"
        assert "cannot be another one than the repository's" in calls.server.table.find("net").reason
    assert calls.server.table.get("net").version == 2


@pytest.mark.parametrize(("config", "policy"), [("", "latest"), (None, "all"), ("max_batch_size: 4", "latest")])
async def test_the_policy_that_is_in_effect_is_shown(
    serve: Serve, tmp_path: Path, config: str | None, policy: str
) -> None:
    folder = add_model(tmp_path, "net", config or "", *[plain_graphs.affine()] * 2)
    if config is None:
        (folder / "config.pbtxt").unlink()
    calls = await serve(tmp_path)
    shown = (await calls.inference.ModelConfig(pb.ModelConfigRequest(name="net"))).config
    assert shown.version_policy.WhichOneof("policy_choice") == policy
    assert shown.version_policy.latest.num_versions == (policy == "latest")
    assert len(calls.server.table.versions("net")) == (1 if policy == "latest" else 2)


async def test_instances_are_shown_as_they_are(serve: Serve, tmp_path: Path) -> None:
    groups = "instance_group [ { count: 2 }, { } ]"
    add_model(tmp_path, "net", groups, plain_graphs.affine())
    calls = await serve(tmp_path)
    (group,) = (await calls.inference.ModelConfig(pb.ModelConfigRequest(name="net"))).config.instance_group
    assert (group.count, group.kind) == (3, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert calls.server.table.get("net")._batched._runner._threads._max_workers == 3
