"""`python -m training visualize`: kernels, feature maps and where a network looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.errors import BackboneError
from training.evaluation.attribution import class_activation, resized
from training.models.maps import feature_maps

Train = Callable[..., Result]


class Corner(nn.Module):
    """Class 1 is a bright place: a 1x1 convolution, its mean, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.conv.bias.zero_()
            self.head.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
            self.head.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(image).mean((2, 3)))
        return logits


def test_the_map_shows_the_place_that_speaks_for_the_class() -> None:
    image = torch.zeros(2, 1, 6, 6)
    image[0, 0, 1, 4], image[1, 0, 5, 0] = 1.0, 2.0
    found = class_activation(Corner().eval(), image)
    assert found.classes.tolist() == [1, 1]
    # The class activation map of a head over means: feature maps weighted by the weights of the class.
    torch.testing.assert_close(found.maps, torch.stack([image[0, 0], image[1, 0] / 2]))
    assert resized(found.maps, 12, 18).shape == (2, 12, 18)


def test_a_network_without_feature_maps_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    assert feature_maps(network, torch.zeros(1, 1, 6, 6)) == {}
    with pytest.raises(BackboneError, match="no feature maps"):
        class_activation(network, torch.zeros(1, 1, 6, 6))


def test_the_drawings_of_a_run(menagerie_train: Train, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 8)
    scratch = ["--backbone", "small_cnn", "--mode", "scratch", "--weights", "none", "--workers", 0, "--epochs", 2]
    places = ["--output", tmp_path / "zoo", "--name", "colours", "--runs", tmp_path / "runs"]
    assert menagerie_train("image", pictures, *scratch, *places).exit_code == 0
    (run,) = (tmp_path / "runs" / "colours").iterdir()
    images = [pictures / "red" / "000.jpg", pictures / "blue" / "001.jpg"]
    result = menagerie_train("visualize", run, *images)
    assert result.exit_code == 0, result.stderr
    files = sorted(Path(line).name for line in result.stdout.splitlines())
    assert [name.partition("-")[0] for name in files] == [
        "activation.png",
        "features",
        "features",
        "features",
        "kernels.png",
    ]
    with Image.open(run / "visuals" / "activation.png") as sheet:
        assert sheet.size == (64, 64)  # two images of 32x32, each beside its map
        assert np.asarray(sheet).std() > 0
    result = menagerie_train("visualize", run, tmp_path / "zoo")
    assert result.exit_code == 2
    assert "zoo: " in result.stderr
    assert "is not the folder of a run; give" in menagerie_train("visualize", tmp_path, images[0]).stderr
