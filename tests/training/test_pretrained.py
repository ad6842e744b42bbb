"""`python -m training pretrained`, on real weights, photographs and known answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.training.conftest import Result
from training.models.backbones import make_backbone
from zoo.card import ImageTask
from zoo.golden import Run
from zoo.image import prepare_image
from zoo.package import read_card
from zoo.runtime import make_run, open_session

Train = Callable[..., Result]


@pytest.fixture(scope="module")
def squeezenet(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ImageTask]:
    """SqueezeNet 1.1 exported with its own head."""
    from training.pipelines.pretrained import export_pretrained
    from training.settings import PretrainedSettings

    settings = PretrainedSettings(
        backbone="squeezenet1_1",
        weights=str(shared_data / "weights_squeezenet1_1" / "squeezenet1_1.safetensors"),
        output=tmp_path_factory.mktemp("repository"),
    )
    outcome = export_pretrained(settings)
    card = read_card(outcome.published.path)
    assert card is not None
    assert isinstance(card.task, ImageTask)
    assert outcome.published.path.parts[-3:] == ("squeezenet1_1", "1", "model.onnx")
    assert len(card.golden.samples) == 4
    assert card.licence == "BSD-3-Clause"
    return make_run(open_session(outcome.published.path)), card.task


def test_logits_are_those_of_an_independent_implementation(
    squeezenet: tuple[Run, ImageTask], shared_data: Path
) -> None:
    folder = shared_data / "photos_openimages"
    expected = np.load(folder / "expected_logits.npz")
    crops = sorted((folder / "crop224").glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(crop).convert("RGB")) for crop in crops])
    logits = squeezenet[0]({"image": pixels})["logits"]
    for crop, row in zip(crops, logits, strict=True):
        np.testing.assert_allclose(row, expected[f"squeezenet1_1__{crop.stem}"], rtol=1e-4, atol=1e-4)


def test_the_top_five_of_the_photographs_are_the_known_ones(
    squeezenet: tuple[Run, ImageTask], shared_data: Path
) -> None:
    run, task = squeezenet
    folder = shared_data / "photos_openimages"
    answers = json.loads((folder / "expected_top5.json").read_text())
    photos = [path for path in sorted(folder.iterdir()) if path.stem in answers and path.is_file()]
    assert len(photos) >= 4
    for photo in photos:
        probabilities = run({"image": prepare_image(photo.read_bytes(), task.resize)[None]})["probabilities"][0]
        top = np.argsort(-probabilities)[:5].tolist()
        known = answers[photo.stem]["squeezenet1_1"]
        assert top == [entry["index"] for entry in known], photo.name
        synset_names = known[0]["name"].split(" ", 1)[1]
        assert task.labels[top[0]].lower() in synset_names.lower()


def test_own_labels_and_golden_photographs_travel_in_the_card(menagerie_train: Train, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(make_backbone("timm/test_efficientnet", 2).network.state_dict(), tmp_path / "tiny.safetensors")
    (tmp_path / "labels.txt").write_text("고양이\ndog\n", encoding="utf-8")
    Image.new("RGB", (50, 40), "teal").save(tmp_path / "photo.png")
    options = ["--labels", tmp_path / "labels.txt", "--golden", tmp_path / "photo.png", "--name", "pets"]
    result = _export(menagerie_train, tmp_path, *options)
    assert result.exit_code == 0, result.stderr
    card = read_card(tmp_path / "repository" / "pets" / "1" / "model.onnx")
    assert card is not None
    assert isinstance(card.task, ImageTask)
    assert card.task.labels == ("고양이", "dog")
    assert card.golden.samples[0].image == (tmp_path / "photo.png").read_bytes()
    assert card.provenance.weights_source.startswith("tiny.safetensors, sha256 ")


def test_weights_without_the_head_of_the_labels_are_refused(menagerie_train: Train, tmp_path: Path) -> None:
    save_file(make_backbone("timm/test_efficientnet", 2).network.state_dict(), tmp_path / "tiny.safetensors")
    result = _export(menagerie_train, tmp_path)
    assert result.exit_code == 2
    assert "does not hold the head of timm/test_efficientnet with 1000 classes" in result.stderr
    assert not (tmp_path / "repository").exists()


def _export(menagerie_train: Train, folder: Path, *options: object) -> Result:
    arguments = ["timm/test_efficientnet", "--weights", folder / "tiny.safetensors", "--output", folder / "repository"]
    return menagerie_train("pretrained", *arguments, *options)
