"""What a published image classifier gives beside probabilities."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.service.conftest import serving
from tests.training.pictures import write_pictures
from training.errors import BackboneError
from training.evaluation.attribution import class_activation
from training.models.backbones import make_backbone
from training.models.image import ImageClassifier
from training.models.published import PooledHead, PublishedClassifier
from training.pipelines.image import ImageOutcome, train_image
from training.pipelines.image.restore import restore_classifier
from training.settings import ImageSettings


def settings_for(root: Path, **more: object) -> ImageSettings:
    """A run of seconds on pictures of 16x16."""
    places = {"data": root / "pictures", "output": root / "zoo", "runs": root / "runs", "name": "colours"}
    options = {"backbone": "small_cnn", "mode": "scratch", "weights": "none", "image_size": 16, "workers": 0}
    return ImageSettings.model_validate(places | options | {"epochs": 2, "learning_rate": 0.01} | more)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> ImageOutcome:
    """A run that published all outputs there are."""
    root = tmp_path_factory.mktemp("run")
    write_pictures(root / "pictures", 16)
    return train_image(settings_for(root, cam=True), console=Console(quiet=True))


async def test_the_served_class_activation_map_is_the_one_that_visualize_draws(outcome: ImageOutcome) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    async with serving(outcome.published.path.parents[2]) as calls:
        served = await calls.infer("colours", {"image": pixels})
    classifier, _, _ = await asyncio.to_thread(restore_classifier, outcome.run_folder, Console(quiet=True))
    drawn = class_activation(classifier, torch.from_numpy(pixels))
    heat = served["class_activation"]
    assert heat.shape == (3, 2, 2)
    assert served["probabilities"].argmax(1).tolist() == drawn.classes.tolist()
    above = np.maximum(heat, 0)
    np.testing.assert_allclose(above / above.max((1, 2), keepdims=True), drawn.maps.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "googlenet", "densenet121", "timm/test_efficientnet"])
def test_the_mean_of_the_map_is_the_logit_but_for_the_bias(name: str) -> None:
    torch.manual_seed(0)
    backbone = make_backbone(name, 3)
    backbone.network.eval()
    head = PooledHead(backbone)
    size = backbone.preprocessing.resize.height_px
    pixels = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits, heat = PublishedClassifier(ImageClassifier(backbone), pooled=head, temperature=2.0)(pixels)
    classes = logits.argmax(1)
    bias = head.head.bias[classes] if isinstance(head.head, torch.nn.Linear) else 0
    torch.testing.assert_close(heat.mean((1, 2)) + bias, 2 * logits.amax(1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "timm/mobilenetv3_small_050"])
def test_a_network_whose_head_is_of_another_kind_is_refused(name: str) -> None:
    with pytest.raises(BackboneError, match=f"{name} has no class activation map: .* leave out --cam"):
        PooledHead(make_backbone(name, 3))
