"""How image classifiers are trained: rates, augmentation, mixing, dropout, and features that are computed once."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.data.images import TrainingImages, read_images
from training.data.images.augmentation import Mixing, make_augmentation, write_preview
from training.errors import BackboneError
from training.models.backbones import find_head, make_backbone
from training.models.layers import set_dropout, state_hash
from training.pipelines.image import train_image
from training.pipelines.image.loading import ActivationPenalty
from training.pipelines.image.network import rate_groups
from training.settings import ImageSettings
from zoo.card import ImageTask, Resize
from zoo.package import read_card

Train = Callable[..., Result]
TINY, QUICK = "timm/test_efficientnet", "small_cnn"
SMALL = Resize(shorter_side_px=40, height_px=32, width_px=32)


def settings_for(tmp_path: Path, **more: object) -> ImageSettings:
    values = {"data": tmp_path, "output": tmp_path / "zoo", "name": "colours", "backbone": TINY, "workers": 0}
    return ImageSettings.model_validate(values | more)


@pytest.mark.parametrize("name", [TINY, "resnet18", "mobilenet_v2"])
def test_every_stage_of_a_backbone_learns_slower_than_the_next(tmp_path: Path, name: str) -> None:
    backbone = make_backbone(name, 3)
    settings = settings_for(tmp_path, learning_rate=0.1, backbone_rate=0.5, layer_decay=0.8, weight_decay=0.0)
    groups = rate_groups(backbone, settings)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    by_name = {key: rates[id(p)] for key, p in backbone.network.named_parameters()}
    assert {by_name[key] for key in backbone.head_keys} == {0.1}
    body = [rate for key, rate in by_name.items() if key not in backbone.head_keys]
    assert body == sorted(body)
    assert max(body) == pytest.approx(0.05)
    assert min(body) < 0.05 * 0.8**3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"augment": "none"},
        {"augment": "randaugment"},
        {"augment": "trivialaugment", "erasing": 1.0},
        {"rotate": 20, "shift": 0.1, "flip": 0.0, "brightness": 0.0, "colour": 0.0, "hue": 0.1},
    ],
    ids=lambda options: str(options.get("augment", len(options))),
)
def test_augmentation_keeps_size_and_type_and_depends_on_the_seed_alone(
    tmp_path: Path, options: dict[str, object]
) -> None:
    images = read_images(write_pictures(tmp_path, 2), SMALL, console=Console(quiet=True))
    data = TrainingImages(images, range(4), SMALL, make_augmentation(settings_for(tmp_path, **options), SMALL))
    seen = [data[0, seed][0] for seed in (1, 1, 2)]
    assert [(tuple(image.shape), image.dtype) for image in seen] == [((32, 32, 3), torch.uint8)] * 3
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2]) == (options.get("augment") == "none")


def test_mixing_blends_images_and_their_classes(tmp_path: Path) -> None:
    assert not Mixing.wanted(settings_for(tmp_path))
    torch.manual_seed(0)
    mixing = Mixing(settings_for(tmp_path, mixup=1.0), classes=3)
    images = torch.stack([torch.full((4, 4, 3), value, dtype=torch.uint8) for value in (0, 200)])
    mixed, shares = mixing(images, torch.tensor([0, 2]))
    assert mixed.dtype == torch.uint8
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    assert float(mixed[0].float().mean()) == pytest.approx(200 * float(shares[0, 2]), abs=1)
    cut, shares = Mixing(settings_for(tmp_path, cutmix=1.0), classes=3)(images, torch.tensor([0, 2]))
    assert set(cut[0].flatten().tolist()) <= {0, 200}
    assert float((cut[0] == 200).float().mean()) == pytest.approx(float(shares[0, 2]))


def test_the_preview_shows_images_before_and_after(tmp_path: Path) -> None:
    images = read_images(write_pictures(tmp_path, 3), SMALL, console=Console(quiet=True))
    settings = settings_for(tmp_path, mixup=0.5)
    data = TrainingImages(images, range(6), SMALL, make_augmentation(settings, SMALL))
    write_preview(data, Mixing(settings, 2), tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as preview:
        assert preview.size == (8 * 34 + 2, 4 * 34 + 2)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"], ids=["has dropout", "has none"])
def test_dropout_before_the_head(name: str) -> None:
    backbone = make_backbone(name, 3)
    torch.manual_seed(0)
    set_dropout(backbone.network, find_head(backbone), 0.9)
    pixels = torch.randn(2, 3, 64, 64)
    first, second = backbone.network.eval()(pixels), backbone.network(pixels)
    assert torch.equal(first, second)
    for module in backbone.network.modules():
        module.training = not isinstance(module, torch.nn.BatchNorm2d)
    assert not torch.equal(backbone.network(pixels), backbone.network(pixels))


def test_the_hash_of_a_network_sees_weights_and_statistics() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    before = state_hash(network)
    assert before == state_hash(network)
    network(torch.randn(4, 2))
    after = state_hash(network)
    assert before != after
    network[0].weight.data[0, 0] += 1
    assert after != state_hash(network)
    assert state_hash(network, without=["0.weight"]) != after


def test_both_phases_of_a_finetuning_and_features_that_are_kept(menagerie_train: Train, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 12)
    torch.manual_seed(0)
    save_file(make_backbone(QUICK, 7).network.state_dict(), tmp_path / "tiny.safetensors")
    common = ["--backbone", QUICK, "--weights", tmp_path / "tiny.safetensors", "--workers", 0, "--epochs", 1]
    places = ["--output", tmp_path / "zoo", "--name", "colours", "--runs", tmp_path / "runs"]
    more = [
        "--copies",
        1,
        "--l1-activations",
        0.01,
        "--mixup",
        0.2,
        "--averaging",
        "ema",
        "--augment",
        "randaugment",
        "--dropout",
        0.1,
        "--layer-decay",
        0.9,
    ]
    result = menagerie_train("image", pictures, *common, *places, "--head-epochs", 3, *more)
    assert result.exit_code == 0, result.stderr
    assert "epoch   3/3" in result.stderr
    assert "the backbone is unchanged: sha256" in result.stderr
    (folder,) = (tmp_path / "runs" / "colours").iterdir()
    assert (folder / "head" / "metrics.csv").is_file()
    assert (folder / "augmentation.png").is_file()
    with (folder / "split.csv").open() as file:
        trained = [Path(row["name"]) for row in csv.DictReader(file) if row["part"] == "train"]
    copies = {path.relative_to(folder / "copies").as_posix() for path in (folder / "copies").glob("*/*.png")}
    assert copies == {f"{path.parent}/{path.parent}_{path.name}-1.png" for path in trained}
    result = menagerie_train("image", pictures, *common, *places, "--mode", "freeze")
    assert result.exit_code == 0, result.stderr
    assert f"features of the training part from {tmp_path / 'runs' / 'features'}" in result.stderr


@pytest.mark.parametrize("name", ["small_cnn", "small_cnn_plain", "mlp"])
def test_small_networks_from_scratch_are_published(menagerie_train: Train, tmp_path: Path, name: str) -> None:
    pictures = write_pictures(tmp_path / "pictures", 16)
    scratch = ["--backbone", name, "--mode", "scratch", "--weights", "none", "--workers", 0, "--image-size", 16]
    places = ["--output", tmp_path / "zoo", "--name", "colours", "--runs", tmp_path / "runs"]
    result = menagerie_train("image", pictures, *scratch, *places, "--epochs", 4, "--learning-rate", 0.01)
    assert result.exit_code == 0, result.stderr
    assert "test accuracy 1.0000" in result.stdout
    card = read_card(tmp_path / "zoo" / "colours" / "1" / "model.onnx")
    assert card is not None
    assert isinstance(card.task, ImageTask)
    assert (card.task.resize.height_px, card.task.resize.width_px) == (16, 16)


def test_other_image_sizes() -> None:
    resize = make_backbone("resnet18", 2, image_size=112).preprocessing.resize
    assert str(resize) == "shorter side to 128 (bilinear), centre crop 112x112"
    with pytest.raises(BackboneError, match="vit_b_16 cannot take images of 96 pixels"):
        make_backbone("vit_b_16", 2, image_size=96)


def test_the_penalty_of_activations_counts_in_training_only() -> None:
    layer = torch.nn.Linear(2, 2)
    loss = ActivationPenalty(lambda output, _: output.sum() * 0, layer, 0.5)
    inputs, target = torch.tensor([[1.0, -3.0]]), torch.zeros(1)
    assert float(loss(layer(inputs), target).detach()) == 1.0
    assert float(loss(layer.eval()(inputs), target).detach()) == 0.0


class InterruptingConsole(Console):
    """A terminal whose user presses Ctrl-C when a line begins with some words."""

    words = ""

    def print(self, *objects: Any, **options: Any) -> None:
        if objects and str(objects[0]).startswith(self.words):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "words", [pytest.param("epoch   2/3", id="head", marks=pytest.mark.slow), pytest.param("epoch   1/2", id="all")]
)
def test_a_finetuning_goes_on_from_either_phase(tmp_path: Path, words: str) -> None:
    write_pictures(tmp_path / "pictures", 12)
    torch.manual_seed(0)
    save_file(make_backbone(QUICK, 7).network.state_dict(), tmp_path / "tiny.safetensors")
    places = {"data": tmp_path / "pictures", "output": tmp_path / "zoo", "runs": tmp_path / "runs"}
    options = {"weights": str(tmp_path / "tiny.safetensors"), "head_epochs": 3, "epochs": 2, "learning_rate": 0.01}
    settings = settings_for(tmp_path, backbone=QUICK, **places, **options)
    whole = train_image(settings, console=Console(quiet=True))
    console = InterruptingConsole()
    console.words = words
    parts = train_image(settings, console=console)
    assert parts.fit.interrupted
    again = train_image(settings.model_copy(update={"resume": parts.run_folder}), console=Console(quiet=True))
    best = [torch.load(run.run_folder / "best.ckpt", weights_only=True)["state_dict"] for run in (whole, again)]
    assert all(torch.equal(value, best[1][key]) for key, value in best[0].items())
