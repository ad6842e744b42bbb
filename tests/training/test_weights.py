"""Weights: what is loaded, what is reported, what is refused."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from training.errors import BackboneError, WeightsError
from training.models.backbones import Backbone, head_name, library_labels, make_backbone, torchvision_names
from training.models.image import ImageClassifier
from training.models.layers import batch_norm_is_folded
from training.models.weights import load_weights, read_weights
from zoo.catalog import read_catalog


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    return make_backbone("resnet18", 1000)


@pytest.fixture
def state(resnet: Backbone) -> dict[str, torch.Tensor]:
    return dict(resnet.network.state_dict())


@pytest.mark.parametrize("name", ["inception_v3", "resnet18", "squeezenet1_1", "timm/resnet10t"])
def test_a_file_of_another_head_loads_everything_but_the_head(tmp_path: Path, name: str) -> None:
    source, target = make_backbone(name, 1000), make_backbone(name, 5)
    save_file(source.network.state_dict(), tmp_path / "weights.safetensors")
    report = load_weights(target, str(tmp_path / "weights.safetensors"))
    assert {line.split()[0] for line in report.mismatched} <= target.head_keys
    assert any(line.startswith(head_name(target)) for line in report.mismatched)
    assert not report.missing
    assert not report.unexpected
    for key in report.loaded:
        assert torch.equal(target.network.state_dict()[key], source.network.state_dict()[key])


def test_wrappers_and_prefixes_of_checkpoints_are_taken_off(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(wrapped, tmp_path / "checkpoint.pth")
    assert read_weights(tmp_path / "checkpoint.pth")[0].keys() == state.keys()
    save_file(wrapped["state_dict"], tmp_path / "checkpoint.safetensors")
    assert read_weights(tmp_path / "checkpoint.safetensors")[0].keys() == state.keys()


def test_the_hash_in_a_file_name_is_checked(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save({key: state[key] for key in ("fc.bias",)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    good = path.rename(tmp_path / f"resnet18-{digest}.pth")
    assert read_weights(good)[1] == (f"SHA-256 {digest} in the file name is right",)
    bad = good.rename(tmp_path / "resnet18-f37072fd.pth")
    with pytest.raises(WeightsError, match=f"SHA-256 starts with {digest}, the name says f37072fd"):
        read_weights(bad)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("it ran",))

    path = tmp_path / "harmful.pth"
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(WeightsError, match="cannot be read as a torch checkpoint of tensors only"):
        read_weights(path)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    for name in ("cut.safetensors", "cut.pth"):
        (tmp_path / name).write_bytes(b"\x10\x00\x00")
        with pytest.raises(WeightsError, match=name):
            read_weights(tmp_path / name)
    with pytest.raises(
        WeightsError, match="no weights file .*nowhere.pth; --weights takes pretrained, none, or a file"
    ):
        read_weights(tmp_path / "nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no state_dict"):
        read_weights(tmp_path / "list.pth")


def test_a_backbone_that_does_not_fit_is_refused_and_left_alone(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    del state["layer4.1.conv2.weight"]
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    save_file(state, tmp_path / "other.safetensors")
    network = make_backbone("resnet18", 5)
    before = network.network.get_parameter("bn1.weight").clone()
    with pytest.raises(WeightsError, match=r"2 outside the head do not.*layer4\.1\.conv2\.weight.*\[64, 1, 7, 7\]"):
        load_weights(network, str(tmp_path / "other.safetensors"))
    assert torch.equal(network.network.get_parameter("bn1.weight"), before)


def test_a_deeper_network_of_the_same_family_is_refused(tmp_path: Path) -> None:
    save_file(make_backbone("resnet34", 5).network.state_dict(), tmp_path / "deeper.safetensors")
    with pytest.raises(WeightsError, match=r"unexpected \(layer1\.2\."):
        load_weights(make_backbone("resnet18", 5), str(tmp_path / "deeper.safetensors"))


def test_pretrained_weights_out_of_reach_say_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(WeightsError, match="weights of squeezenet1_1 cannot be fetched .*--weights FILE"):
        load_weights(make_backbone("squeezenet1_1", 5), "pretrained")


def test_an_unknown_backbone_lists_near_names() -> None:
    with pytest.raises(BackboneError, match="did you mean .*resnet18"):
        make_backbone("resnet81", 5)
    with pytest.raises(BackboneError, match="did you mean .*timm/resnet10t"):
        make_backbone("timm/resnet10", 5)


def test_preprocessing_and_labels_come_from_the_library() -> None:
    inception = make_backbone("timm/inception_v4", 5).preprocessing
    assert str(inception.resize) == "shorter side to 341 (bicubic), centre crop 299x299"
    assert inception.mean == (0.5, 0.5, 0.5)
    assert library_labels("resnet18")[:2] == ("tench", "goldfish")
    assert library_labels("timm/resnet10t")[0] == "tench, Tinca tinca"


def test_real_files_load_or_say_what_is_missing(shared_data: Path) -> None:
    folded = make_backbone("mobilenet_v2", 5)
    report = load_weights(folded, str(next(shared_data.glob("weights_mobilenet_v2_notop/*.safetensors"))))
    assert report.missing == ("classifier.1.bias", "classifier.1.weight")
    assert len(report.loaded) == 260
    assert batch_norm_is_folded(folded.network)
    with pytest.raises(WeightsError, match=r"something is missing in: fc, layer1, layer2, layer3, layer4"):
        load_weights(
            make_backbone("resnet50", 5), str(next(shared_data.glob("weights_resnet50v2_stage3/*.safetensors")))
        )
    checkpoint, notes = read_weights(shared_data / "weights_cifar10_resnets" / "resnet20-12fca82f.th")
    assert "conv1.weight" in checkpoint
    assert notes == ("SHA-256 12fca82f in the file name is right",)


def test_every_backbone_of_the_catalog_can_be_asked_for() -> None:
    known = set(torchvision_names())
    for entry in read_catalog():
        name = entry.backbone
        assert name in known or timm.is_model(name.removeprefix("timm/").partition(".")[0]), name
    assert make_backbone("timm/resnet10t.c3_in1k", 3).name == "timm/resnet10t.c3_in1k"


def test_a_run_can_start_from_the_best_weights_of_another(tmp_path: Path, resnet: Backbone) -> None:
    torch.save({"state_dict": ImageClassifier(resnet).state_dict()}, tmp_path / "best.ckpt")
    target = make_backbone("resnet18", 5)
    assert len(load_weights(target, str(tmp_path / "best.ckpt")).mismatched) == 2
    assert torch.equal(target.network.get_parameter("conv1.weight"), resnet.network.get_parameter("conv1.weight"))
