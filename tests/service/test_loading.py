"""What is in a repository and what becomes of it: broken files are reported with the reason, the others serve."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
import pytest

from inference import grpc_service_pb2 as pb
from menagerie.v1 import model_pb2, model_service_pb2
from tests import cards, graphs
from tests.service import plain_graphs
from tests.service.calls import Calls, failure
from tests.service.conftest import Serve, add_plain
from zoo.card import Card, Golden, GoldenSample
from zoo.package import write_model
from zoo.repository import publish


async def _states(calls: Calls) -> dict[tuple[str, int], model_pb2.ModelSummary]:
    response = await calls.models.ListModels(model_service_pb2.ListModelsRequest())
    return {(item.model.name, item.model.version): item for item in response.models}


def _add_card(repository: Path, name: str, graph: bytes, card: Card) -> None:
    file = repository / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    write_model(graph, card, file)


async def test_broken_files_are_reported_while_the_others_serve(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods")
    good = (tmp_path / "moods" / "1" / "model.onnx").read_bytes()
    add_plain(tmp_path, "truncated", good[: len(good) // 2])
    add_plain(tmp_path, "no-onnx", b"PK\x03\x04 a zip file, perhaps")
    add_plain(tmp_path, "empty", b"")
    add_plain(tmp_path, "bad-card", good.replace(b'"schema_version":1', b'"schema_version":9'))
    add_plain(tmp_path, "operator", plain_graphs.with_unknown_operator())
    add_plain(tmp_path, "outside", plain_graphs.with_external_data("../../../../etc/hostname"))
    add_plain(tmp_path, "beside", plain_graphs.with_external_data("weights.bin")).with_name("weights.bin").write_bytes(
        bytes(16)
    )
    (tmp_path / "no-version").mkdir()
    (tmp_path / "no-file" / "3").mkdir(parents=True)
    with caplog.at_level(logging.ERROR):
        calls = await serve(tmp_path)
    states = await _states(calls)
    reasons = {name: item.reason for (name, _), item in states.items() if item.state == model_pb2.MODEL_STATE_FAILED}
    assert "not a complete ONNX file" in reasons["truncated"]
    assert "ONNX" in reasons["no-onnx"]
    assert "ONNX" in reasons["empty"]
    assert "schema_version" in reasons["bad-card"]
    assert "Conjure" in reasons["operator"]
    assert "external data" in reasons["outside"]
    assert "external data" in reasons["beside"]
    assert "no version folder" in reasons["no-version"]
    assert "no file model.onnx" in reasons["no-file"]
    assert set(reasons) == {name for name, _ in states} - {"moods"}
    for name, reason in reasons.items():
        assert f"model {name} " in caplog.text
        assert str(tmp_path) not in reason, "clients need not know the folders of the server"
    assert (await calls.classify_texts("good")).results
    got = await failure(calls.infer("truncated", {}))
    assert (got.code, got.info.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_NOT_READY")
    assert "not a complete ONNX file" in got.message
    assert not (await calls.inference.ModelReady(pb.ModelReadyRequest(name="truncated"))).ready
    assert await calls.metric("menagerie_models_ready") == 1
    assert await calls.metric("menagerie_model_state", model="truncated", state="FAILED") == 1


async def test_a_model_that_does_not_reproduce_its_golden_samples_is_not_served(serve: Serve, tmp_path: Path) -> None:
    wrong = Golden(samples=(GoldenSample(text="good", expected=(0.5, 0.5)),))
    _add_card(tmp_path, "moods", graphs.text_graph(), cards.text_card(wrong))
    (state,) = (await _states(await serve(tmp_path))).values()
    assert state.state == model_pb2.MODEL_STATE_FAILED
    assert "golden sample 0" in state.reason


@pytest.mark.parametrize(
    ("graph", "card", "words"),
    [
        (graphs.text_graph(), cards.image_card(), "input 'image', UINT8 of rank 4"),
        (plain_graphs.affine(), cards.forecast_card(), "input 'history', FP32 of rank 3"),
    ],
)
async def test_a_card_that_does_not_fit_its_graph(
    serve: Serve, tmp_path: Path, graph: bytes, card: Card, words: str
) -> None:
    _add_card(tmp_path, "liar", graph, card)
    (state,) = (await _states(await serve(tmp_path))).values()
    assert state.state == model_pb2.MODEL_STATE_FAILED
    assert words in state.reason


async def test_labels_that_do_not_match_the_outputs(serve: Serve, tmp_path: Path) -> None:
    card = cards.text_card()
    three = card.model_copy(update={"task": card.task.model_copy(update={"labels": ("a", "b", "c")})})
    _add_card(tmp_path, "liar", graphs.text_graph(), three)
    (state,) = (await _states(await serve(tmp_path))).values()
    assert state.reason == "output 'probabilities' has shape (1, 2) where the card promises (1, 3)"


async def test_the_highest_ready_version_answers(serve: Serve, tmp_path: Path) -> None:
    for version in (2, 10):
        publish(graphs.text_graph(), cards.text_card(), tmp_path, "moods", version)
    add_plain(tmp_path, "moods", b"broken", version=11)
    calls = await serve(tmp_path)
    assert (await calls.classify_texts("good")).model.version == 10
    assert (await calls.classify_texts("good", version=2)).model.version == 2
    got = await failure(calls.classify_texts("good", version=11))
    assert got.code is grpc.StatusCode.UNAVAILABLE
    metadata = await calls.inference.ModelMetadata(pb.ModelMetadataRequest(name="moods"))
    assert list(metadata.versions) == ["2", "10"]


async def test_the_same_model_in_two_repositories(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for repository in (first, second):
        publish(graphs.text_graph(), cards.text_card(), repository, "moods", 1)
    publish(graphs.text_graph(), cards.text_card(), second, "moods", 2)
    publish(graphs.image_graph(), cards.image_card(), second, "shades", 1)
    calls = await serve(first, second)
    states = await _states(calls)
    assert states["moods", 1].state == states["shades", 1].state == model_pb2.MODEL_STATE_READY
    assert states["moods", 2].state == model_pb2.MODEL_STATE_FAILED
    assert "rename one of them" in states["moods", 2].reason
    assert f"model moods 1 of {second} is not served" in caplog.text


async def test_startup_says_what_is_served(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        calls = await serve(device="auto")
    assert f"serving gRPC on {calls.server.address}" in caplog.text
    assert calls.server.metrics_url in caplog.text
    assert "device " in caplog.text
    assert "model shades 1: ready on " in caplog.text
