"""`python -m training quantize`: a smaller version of a published model, if it is as good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from service.backend.onnx import OnnxBackend
from service.models.loading import load_model
from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.errors import GateError
from training.export.half import check_range, to_float16
from training.export.text import text_tensor
from zoo import BUNDLED
from zoo.package import read_card
from zoo.repository import MODEL_FILE
from zoo.runtime import make_run, open_session

Train = Callable[..., Result]
TINY = "timm/test_efficientnet"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), 12, ("blue", "red"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A wave with a second one on it, hourly."""
    hours = np.arange(400)
    waves = 100 + 10 * np.sin(hours / 24 * 2 * np.pi) + np.sin(hours / 5)
    lines = [f"2024-01-{1 + hour // 24:02d} {hour % 24:02d}:00,{value:.3f}" for hour, value in enumerate(waves)]
    path = tmp_path / "waves.csv"
    path.write_text("time,load\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    good, bad = ("fine", "lovely", "great", "superb"), ("awful", "dull", "poor", "weak")
    classes = ((1, good), (0, bad))
    rows = [f"a {word} film number {n}\t{label}" for n in range(20) for label, words in classes for word in words]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


def places(tmp_path: Path, name: str) -> list[object]:
    return ["--output", tmp_path / "repository", "--name", name, "--runs", tmp_path / "runs", "--epochs", 1]


def versions(tmp_path: Path, name: str) -> Iterator[Path]:
    for folder in sorted((tmp_path / "repository" / name).iterdir()):
        yield folder / MODEL_FILE


def check_half(menagerie_train: Train, tmp_path: Path, name: str, data: Path) -> None:
    """Convert the first version; the second one must say so, be smaller, and be served."""
    (first,) = versions(tmp_path, name)
    result = menagerie_train("quantize", first.parent, data, "--fp16", "--max-drop", 0.2)
    assert result.exit_code == 0, result.stderr
    assert f"published {name} version 2" in result.stdout
    before, after = versions(tmp_path, name)
    old, card = read_card(before), read_card(after)
    assert old is not None
    assert card is not None
    assert card.golden.atol == pytest.approx(10 * old.golden.atol)
    assert card.tried["float16"]["kept"] == "yes, for a GPU; its speed there was not measured"
    if old.calibration:
        assert card.calibration
        assert card.calibration.temperature == pytest.approx(old.calibration.temperature, abs=1e-5)
    assert after.stat().st_size < before.stat().st_size
    types = {tensor.data_type for tensor in onnx.load(after).graph.initializer}
    assert TensorProto.FLOAT16 in types
    plain, half = (make_run(open_session(path)) for path in (before, after))
    assert [(i.name, i.type) for i in open_session(after).get_inputs()] == [
        (i.name, i.type) for i in open_session(before).get_inputs()
    ]
    model = load_model(after, OnnxBackend, max_batch_rows=4)
    assert model.golden_error <= 1
    assert model.probe is not None
    for output, expected in plain(model.probe).items():
        np.testing.assert_allclose(half(model.probe)[output], expected, rtol=5e-3, atol=5e-3)


@pytest.mark.slow
def test_smaller_versions_of_an_image_model(menagerie_train: Train, tmp_path: Path, pictures: Path) -> None:
    scratch = ["--backbone", TINY, "--mode", "scratch", "--weights", "none", "--workers", 0]
    assert menagerie_train("image", pictures, *scratch, *places(tmp_path, "colours")).exit_code == 0
    check_half(menagerie_train, tmp_path, "colours", pictures)
    first, _ = versions(tmp_path, "colours")
    result = menagerie_train("quantize", first, pictures, "--int8", "--max-drop", 0.5)
    if result.exit_code:  # whether it is faster is this machine's to say
        assert "int8 is not worth it: its speed is" in " ".join(result.stderr.split())
        return
    card = read_card(list(versions(tmp_path, "colours"))[2])
    assert card is not None
    assert card.tried["int8"]["kept"] == "yes"
    assert card.golden.atol == card.tried["int8"]["golden_atol"]


@pytest.mark.slow
def test_half_precision_of_a_text_model(menagerie_train: Train, tmp_path: Path, texts: Path) -> None:
    small = ["--hidden-size", 8, "--embedding-size", 8, "--min-count", 1]
    assert menagerie_train("text", texts, *small, *places(tmp_path, "moods")).exit_code == 0
    check_half(menagerie_train, tmp_path, "moods", texts)


def test_half_precision_of_a_forecaster(menagerie_train: Train, tmp_path: Path, table: Path) -> None:
    small = ["--target", "load", "--window", 24, "--horizon", 4, "--hidden-size", 8]
    assert menagerie_train("series", table, *small, *places(tmp_path, "waves")).exit_code == 0
    check_half(menagerie_train, tmp_path, "waves", table)
    (tmp_path / "other.csv").write_text(table.read_text().replace("100.", "101."))
    first, _ = versions(tmp_path, "waves")
    for arguments, message in {
        (tmp_path / "other.csv", "--fp16"): "these are not the data that 'waves' was trained on",
        (table, "--int8"): "--int8 is for images and texts: of a forecaster all rows of a batch would share one scale",
        (table, "--fp16", "--int8"): "give one of --int8 and --fp16",
    }.items():
        result = menagerie_train("quantize", first, *arguments)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
    assert len(list(versions(tmp_path, "waves"))) == 2


def test_int8_of_texts_that_an_lstm_reads(menagerie_train: Train, tmp_path: Path, texts: Path) -> None:
    wide = ["--cell", "lstm", "--hidden-size", 192, "--embedding-size", 64, "--min-count", 1]
    assert menagerie_train("text", texts, *wide, *places(tmp_path, "moods")).exit_code == 0
    (first,) = versions(tmp_path, "moods")
    result = menagerie_train("quantize", first, texts, "--int8", "--max-drop", 0.2)
    assert result.exit_code == 0, result.stderr
    _, small = versions(tmp_path, "moods")
    card = read_card(small)
    assert card is not None
    assert card.tried["int8"]["speedup"] > 1
    assert small.stat().st_size < first.stat().st_size / 2
    assert "DynamicQuantizeLSTM" in {node.op_type for node in onnx.load(small).graph.node}
    before, after = (make_run(open_session(path)) for path in (first, small))
    for words in (["a fine film"], ["", "x", "a dull film", "lovely " * 300]):
        inputs = text_tensor(words)
        assert after(inputs).keys() == before(inputs).keys()
        gap = np.abs(after(inputs)["probabilities"] - before(inputs)["probabilities"]).max()
        assert gap <= 2 * card.golden.atol
    assert load_model(small, OnnxBackend, max_batch_rows=4).golden_error <= 1
    result = menagerie_train("quantize", small, texts, "--int8")
    assert result.exit_code == 2
    assert "quantised to int8 already" in " ".join(result.stderr.split())


def test_what_half_precision_cannot_hold_is_found() -> None:
    def graph(factor: float) -> bytes:
        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in ("x", "y", "large")]
        nodes = [
            helper.make_node("Mul", ["x", "factor"], ["large"]),
            helper.make_node("Div", ["large", "factor"], ["y"]),
        ]
        weights = [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])]
        made = helper.make_graph(nodes, "g", value[:1], value[1:2], weights, value_info=value[2:])
        data: bytes = helper.make_model(
            made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
        ).SerializeToString()
        return data

    assert check_range(graph(100), {"x": np.ones((1, 1), np.float32)}) == pytest.approx(100 / 65504)
    with pytest.raises(GateError, match=r"large reaches 1e\+05, which half precision cannot hold"):
        check_range(graph(100), {"x": np.full((1, 1), 1000, np.float32)})
    with pytest.raises(GateError, match=r"factor reaches 1e\+06"):
        check_range(graph(1e6), {"x": np.zeros((1, 1), np.float32)})
    with pytest.raises(GateError, match=r"reaches nan"):
        check_range(graph(100), {"x": np.full((1, 1), np.nan, np.float32)})


def test_a_model_in_int8_is_not_converted() -> None:
    with pytest.raises(GateError, match=r"quantised to int8 already"):
        to_float16((BUNDLED / "flowers" / "1" / MODEL_FILE).read_bytes())
