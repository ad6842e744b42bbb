"""What a published image classifier gives beside probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from tests.service.conftest import serving
from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.data.images import ImageItem, LabelledImages
from training.data.split import Split
from training.errors import BackboneError
from training.evaluation.attribution import class_activation
from training.export.gate import BATCH_SIZES, check_parity
from training.export.image import export_image_classifier, gate_batches, torch_run
from training.export.pixel_rows import normalise_rows
from training.export.quantize import quantize_int8
from training.models.backbones import Backbone, Preprocessing, make_backbone
from training.models.image import ImageClassifier
from training.models.published import PooledHead, PublishedClassifier, TestTimeViews
from training.pipelines.image import ImageOutcome, train_image
from training.pipelines.image.export import ImageData
from training.pipelines.image.graph import complete_classifier
from training.pipelines.image.restore import restore_classifier
from training.settings import ImageSettings
from zoo.card import Resize
from zoo.runtime import make_run, open_session

Train = Callable[..., Result]


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


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v2",
        "squeezenet1_1",
        "googlenet",
        "densenet121",
        "regnet_y_400mf",
        "timm/test_efficientnet",
    ],
)
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


def test_a_map_that_cannot_be_had_is_refused_before_the_training(menagerie_train: Train, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 4)
    scratch = ["--backbone", "mlp", "--mode", "scratch", "--weights", "none", "--cam"]
    places = ["--output", tmp_path / "zoo", "--name", "colours", "--runs", tmp_path / "runs"]
    result = menagerie_train("image", pictures, *scratch, *places)
    assert result.exit_code == 2
    assert "mlp has no class activation map" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("views", ["flip", "zoom"])
def test_an_image_and_its_mirror_image_have_one_answer(views: TestTimeViews) -> None:
    torch.manual_seed(0)
    backbone = make_backbone("small_cnn", 3, image_size=32)
    backbone.network.eval()
    classifier = ImageClassifier(backbone)
    augmented = PublishedClassifier(classifier, views=views, pooled=PooledHead(backbone), temperature=2.0).eval()
    pixels = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits, maps = augmented(pixels)
        mirrored_logits, mirrored_maps = augmented(pixels.flip(2))
        once, other = classifier(pixels), classifier(pixels.flip(2))
    torch.testing.assert_close(logits, mirrored_logits)
    torch.testing.assert_close(maps, mirrored_maps.flip(2))
    if views == "flip":
        torch.testing.assert_close(logits, (once + other) / 4)
        return
    onnx_run = make_run(open_session(export_image_classifier(augmented, backbone.preprocessing.resize)))
    assert check_parity(torch_run(augmented), onnx_run, gate_batches(pixels.numpy(), BATCH_SIZES)) < 1e-4


class LeftHalf(torch.nn.Module):
    """Class 1 where the left half of an image is bright."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        brightness = image[..., : image.shape[3] // 2].mean((1, 2, 3))
        return torch.stack([-brightness, brightness], 1)


def half_images(right: float) -> tuple[ImageClassifier, ImageData]:
    """40 images of 8x8, bright or dark by class; left and right half have noise of their own.

    Args:
        right: brightness of the right half, relative to the left one.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    halves = (2 * labels - 1)[:, None] * np.array([1, right]) + rng.normal(0, 1, (40, 2))
    grey = np.repeat(np.clip(128 + 40 * halves, 0, 255).astype(np.uint8), 4, axis=1)
    pixels = [np.broadcast_to(row[None, :, None], (8, 8, 3)).copy() for row in grey]
    items = tuple(ImageItem(f"{row}", int(label), pixels[row]) for row, label in enumerate(labels))
    resize = Resize(shorter_side_px=8, height_px=8, width_px=8)
    images = LabelledImages(items, ("dark", "bright"), tuple(pixels), ("",) * 40)
    half = (0.5, 0.5, 0.5)
    backbone = Backbone("left_half", LeftHalf(), Preprocessing(resize, half, half), 2, frozenset())
    return ImageClassifier(backbone), ImageData(images, Split((), tuple(range(40)), (), ""), resize)


@pytest.mark.parametrize(("right", "kept"), [(1.0, True), (-1.0, False)], ids=["same", "opposite"])
def test_the_validation_part_decides_on_test_time_augmentation(tmp_path: Path, right: float, kept: bool) -> None:
    classifier, data = half_images(right)
    complete, tried = complete_classifier(classifier, None, data, settings_for(tmp_path, tta="flip"))
    assert complete.classifier.views == ("flip" if kept else "none")
    one, two = tried["one view"], tried["test-time augmentation flip"]
    assert (two["validation_log_loss"] < one["validation_log_loss"]) == kept
    assert str(two["kept"]).startswith("yes" if kept else "no: it does not lower the log loss")
    assert one["times_the_time"] == 1.0


@pytest.mark.parametrize("views", ["none", "zoom"])
def test_pixels_normalised_by_row_have_the_same_bits(views: TestTimeViews) -> None:
    torch.manual_seed(0)
    backbone = make_backbone("small_cnn", 3, scratch=True)
    published = PublishedClassifier(ImageClassifier(backbone), views=views).eval()
    size = backbone.preprocessing.resize
    by_channel = onnx.load_from_string(export_image_classifier(published, size))
    pixels = np.random.default_rng(0).integers(0, 256, (3, size.height_px, size.width_px, 3), np.uint8)
    expected = make_run(open_session(by_channel.SerializeToString()))({"image": pixels})
    by_row = normalise_rows(by_channel)
    # Subtracted are as many values as a row of pixels has, or the pattern is not what the exporter writes any more.
    (subtraction,) = [node for node in by_row.graph.node if node.op_type == "Sub"]
    (offset,) = [node for node in by_row.graph.node if subtraction.input[1] in node.output]
    assert numpy_helper.to_array(offset.attribute[0].t).shape == (3 * size.width_px,)
    got = make_run(open_session(by_row.SerializeToString()))({"image": pixels})
    assert all((got[name] == expected[name]).all() for name in expected)


def test_a_graph_that_begins_otherwise_is_left_alone() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "doubles", [x], [y])
    graph.initializer.append(numpy_helper.from_array(np.full(3, 2, np.float32), "two"))
    model = helper.make_model(graph)
    assert [node.op_type for node in normalise_rows(model).graph.node] == ["Mul"]


def test_logits_in_int8_are_not_rounded_to_8_bits() -> None:
    torch.manual_seed(0)
    backbone = make_backbone("small_cnn", 3, scratch=True)
    graph = export_image_classifier(
        PublishedClassifier(ImageClassifier(backbone)).eval(), backbone.preprocessing.resize
    )
    size = backbone.preprocessing.resize.height_px
    pixels = np.random.default_rng(0).integers(0, 256, (400, size, size, 3), np.uint8)
    int8 = quantize_int8(graph, [{"image": pixels[:8]}], float_convolutions=0)
    logits = make_run(open_session(int8))({"image": pixels})["logits"]
    assert len(np.unique(logits)) > 256
