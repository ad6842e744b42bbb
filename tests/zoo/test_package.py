"""The model file: cards are added and read without the onnx package, and anything incomplete is refused."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cards import image_card
from tests.graphs import image_graph
from zoo.card import CARD_KEY
from zoo.errors import CardError, PackageError, ZooError
from zoo.package import read_card, read_metadata, write_model


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    write_model(image_graph(), image_card(), path)
    return path


def test_the_card_is_in_the_file_and_the_graph_is_untouched(model_file: Path) -> None:
    assert read_card(model_file) == image_card()
    model = onnx.load(model_file)
    onnx.checker.check_model(model)
    assert [entry.key for entry in model.metadata_props] == [CARD_KEY]
    del model.metadata_props[:]
    assert model.SerializeToString() == image_graph()


def test_writing_again_replaces_the_card(model_file: Path) -> None:
    other = image_card().model_copy(update={"licence": "MIT"})
    write_model(model_file.read_bytes(), other, model_file)
    assert read_card(model_file) == other
    assert len(onnx.load(model_file).metadata_props) == 1


def test_metadata_of_other_exporters_are_read_and_kept(tmp_path: Path) -> None:
    model = onnx.load_from_string(image_graph())
    onnx.helper.set_model_props(model, {"author": "누군가", "empty": ""})
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert read_metadata(path) == {"author": "누군가", "empty": ""}
    assert read_card(path) is None
    write_model(path.read_bytes(), image_card(), path)
    assert set(read_metadata(path)) == {"author", "empty", CARD_KEY}


def test_a_file_cut_anywhere_is_refused(model_file: Path) -> None:
    whole = model_file.read_bytes()
    card_starts = len(image_graph())
    for length in [*range(0, len(whole), 7), card_starts + 1, len(whole) - 1]:
        if length == card_starts:
            continue  # that is the whole model, without a card
        model_file.write_bytes(whole[:length])
        with pytest.raises(PackageError, match="model.onnx: (not|an ONNX file without)"):
            read_card(model_file)


@pytest.mark.parametrize("content", [b"", b"hello, I am not ONNX", b"\x80" * 40, b"PK\x03\x04" + bytes(200)])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(PackageError, match="model.onnx: not "):
        read_card(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(content=st.binary(max_size=300))
def test_random_bytes_are_a_typed_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(content)
    with pytest.raises(ZooError):
        read_card(path)


def test_a_broken_card_names_its_field(model_file: Path) -> None:
    content = json.loads(image_card().to_json())
    del content["licence"]
    model = onnx.load_from_string(image_graph())
    onnx.helper.set_model_props(model, {CARD_KEY: json.dumps(content)})
    model_file.write_bytes(model.SerializeToString())
    with pytest.raises(CardError, match="licence: Field required"):
        read_card(model_file)


def test_a_missing_file_is_a_package_error(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="nothing.onnx: cannot be read: No such file"):
        read_metadata(tmp_path / "nothing.onnx")


def test_real_files_of_other_exporters_have_no_card(shared_data: Path) -> None:
    files = [path for path in shared_data.rglob("*.onnx") if "should_fail" not in str(path)]
    assert files
    assert [read_card(path) for path in files] == [None] * len(files)
