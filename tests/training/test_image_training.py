"""`python -m training image`: from a folder of pictures to a published model that does what torch did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.data.images import EvaluationImages, TrainingImages, read_images
from training.data.images.augmentation import make_augmentation
from training.models.backbones import Backbone, head_name, make_backbone
from training.models.image import ImageClassifier
from training.pipelines.image.head import fit_head
from training.pipelines.image.network import finetune
from training.runs import TrainingRun
from training.settings import ImageSettings
from zoo.card import ImageTask
from zoo.golden import check_golden
from zoo.image import prepare_image
from zoo.package import read_card
from zoo.repository import scan
from zoo.runtime import make_run, open_session

TINY = "timm/test_efficientnet"
"""100,000 weights, 160x160."""

Train = Callable[..., Result]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 pictures."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), 20, ("blue", "green", "red"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny network with another head."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(make_backbone(TINY, 7).network.state_dict(), path)
    return path


def begun(settings: ImageSettings) -> TrainingRun:
    """A run that writes below the folder of its data."""
    run = TrainingRun(settings.model_copy(update={"runs": settings.data / "runs"}), Console(quiet=True))
    run.begin([])
    return run


def settings_for(tmp_path: Path, **more: object) -> ImageSettings:
    values = {"data": tmp_path, "output": tmp_path / "repository", "name": "colours", "backbone": TINY, "workers": 0}
    return ImageSettings.model_validate({**values, "epochs": 2, **more})


def test_a_folder_becomes_a_served_file(menagerie_train: Train, tmp_path: Path, pictures: Path, weights: Path) -> None:
    options = ["--mode", "freeze", "--weights", weights, "--epochs", 30, "--learning-rate", 0.02, "--quantize", "int8"]
    places = ["--output", tmp_path / "repository", "--name", "colours", "--runs", tmp_path / "runs"]
    result = menagerie_train("image", pictures, "--backbone", TINY, *options, *places)
    assert result.exit_code == 0, result.stderr
    assert "test accuracy" in result.stdout
    assert "serve it with: python -m service --repository" in result.stdout
    (version,) = scan(tmp_path / "repository").versions
    card = read_card(version.path)
    assert card is not None
    assert isinstance(card.task, ImageTask)
    assert card.task.labels == ("blue", "green", "red")
    assert card.test_metrics["accuracy"] >= 0.9
    assert card.test_metrics["test_items"] == 9
    assert {"float32", "int8"} < card.tried.keys()
    assert card.provenance.split == "stratified by class, seed 0: 42 train / 9 validation / 9 test"
    assert card.class_shares == pytest.approx({"blue": 1 / 3, "green": 1 / 3, "red": 1 / 3})
    assert all(card.reference[channel].distribution for channel in ("red", "green", "blue"))
    for place in (tmp_path, pictures, weights):
        assert str(place) not in card.to_json()
    run = make_run(open_session(version.path))
    assert check_golden(card, run) <= 1
    red = prepare_image((pictures / "red" / "000.jpg").read_bytes(), card.task.resize)
    assert int(run({"image": red[None]})["probabilities"].argmax()) == 2
    report = (next((tmp_path / "runs" / "colours").iterdir()) / "report.html").read_text()
    assert "Learning curves" in report


@pytest.mark.parametrize("name", [TINY, "squeezenet1_1", "googlenet"])
def test_freeze_changes_nothing_but_the_head(tmp_path: Path, pictures: Path, name: str) -> None:
    backbone, before = _network_and_weights(name)
    images = read_images(pictures, backbone.preprocessing.resize, skip_broken=False, console=Console(quiet=True))
    part = EvaluationImages(images, range(0, 60, 10), backbone.preprocessing.resize)
    settings = settings_for(tmp_path, mode="freeze", learning_rate=0.01)
    fit_head(ImageClassifier(backbone), backbone, part, part, settings, begun(settings))
    assert _changed(backbone, before) == {f"{head_name(backbone)}.weight", f"{head_name(backbone)}.bias"}


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_finetune_changes_statistics_only_where_it_should(tmp_path: Path, pictures: Path, batch_norm: str) -> None:
    backbone, before = _network_and_weights()
    resize = backbone.preprocessing.resize
    images = read_images(pictures, resize, skip_broken=False, console=Console(quiet=True))
    settings = settings_for(tmp_path, mode="finetune", batch_norm=batch_norm, epochs=1, head_epochs=2)
    train = TrainingImages(images, range(0, 60, 5), resize, make_augmentation(settings, resize))
    validation = EvaluationImages(images, range(1, 60, 15), resize)
    classifier = ImageClassifier(backbone)
    finetune(classifier, backbone, train, validation, settings, begun(settings))
    changed = _changed(backbone, before)
    statistics = {key for key in before if "running_" in key or "num_batches" in key}
    assert statistics & changed == (set() if batch_norm == "frozen" else statistics)
    assert changed >= {key for key in before if key.endswith("conv.weight")} | backbone.head_keys


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "resnet81", "--weights", "none", "--mode", "scratch"], "no backbone 'resnet81'; did you mean"),
        (["--weights", "none", "--mode", "freeze"], "--mode freeze trains only the head"),
        (["--weights", "none", "--mode", "finetune"], "--mode finetune begins with trained weights"),
        (["--mode", "scratch"], "pass --weights none"),
        (["--weights", "nowhere.pth"], "there is no weights file nowhere.pth"),
        (["--epochs", "0"], "--epochs: Input should be greater than or equal to 1 (got 0)"),
        (["--learning-rate", "1e300"], "--learning-rate: Input should be less than or equal to 1000000 (got 1e+300)"),
        (["--mode", "melt"], "'melt' is not one of 'freeze', 'finetune', 'scratch'"),
        (["--name", "no/slash"], "'no/slash' cannot name a model"),
        (["--test", "0.9", "--validation", "0.2", "--weights", "none", "--mode", "scratch"], "leave nothing to train"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_with_the_value_and_the_way_out(
    menagerie_train: Train, tmp_path: Path, pictures: Path, arguments: list[str], message: str
) -> None:
    defaults = ["--output", tmp_path / "repository", "--name", "colours", "--runs", tmp_path / "runs"]
    result = menagerie_train("image", pictures, "--backbone", TINY, *defaults, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "repository").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here CUDA works")
def test_a_device_that_does_not_work_is_refused(menagerie_train: Train, tmp_path: Path, pictures: Path) -> None:
    places = ["--output", tmp_path / "repository", "--name", "colours", "--runs", tmp_path / "runs"]
    scratch = ["--backbone", TINY, "--mode", "scratch", "--weights", "none", "--device", "cuda"]
    result = menagerie_train("image", pictures, *scratch, *places)
    assert result.exit_code == 2
    assert "there is no CUDA device that torch can use; pass --device cpu, or auto" in result.stderr


def test_ctrl_c_publishes_the_best_model_so_far(tmp_path: Path, pictures: Path) -> None:
    arguments = ["image", pictures, "--backbone", TINY, "--mode", "scratch", "--weights", "none", "--workers", "1"]
    places = ["--output", tmp_path / "repository", "--name", "colours", "--runs", tmp_path / "runs"]
    endless = ["--epochs", "100000", "--patience", "100000", "--device", "cpu"]
    command = [sys.executable, "-m", "training", *arguments, *places, *endless]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [str(part) for part in command], env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch   2/"):
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: loaders get it, too
                break
        output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert "stopping: the best model so far is kept" in errors
    assert "interrupted, best kept" in output
    assert f"train on with: --resume {tmp_path / 'runs' / 'colours'}" in output
    assert "published colours version 1" in output
    (version,) = scan(tmp_path / "repository").versions
    assert read_card(version.path) is not None


def _network_and_weights(name: str = TINY) -> tuple[Backbone, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    backbone = make_backbone(name, 3)
    return backbone, {key: value.clone() for key, value in backbone.network.state_dict().items()}


def _changed(backbone: Backbone, before: dict[str, torch.Tensor]) -> set[str]:
    after = backbone.network.state_dict()
    return {key for key, value in before.items() if not torch.equal(value, after[key])}
