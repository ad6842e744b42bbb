"""Temperature scaling: found on the validation part, inside the published graph, told by card and report."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.training.pictures import write_pictures
from training.evaluation.calibration import fit_temperature, without_temperature
from training.models.published import PublishedClassifier
from training.pipelines.image import ImageOutcome, train_image
from training.pipelines.image.restore import restore_classifier
from training.reports.classifier import write_image_report
from training.settings import ImageSettings
from zoo.package import read_card
from zoo.runtime import make_run, open_session


def logits_of_confidence(items: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a classifier that is `scale` times too sure, and classes drawn from its honest probabilities."""
    rng = np.random.default_rng(0)
    honest = torch.from_numpy(rng.normal(0, 2, (items, 3)))
    classes = torch.tensor([rng.choice(3, p=row.numpy()) for row in honest.softmax(1)])
    return honest * scale, classes


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_takes_back_what_is_too_sure_or_too_unsure(scale: float) -> None:
    assert fit_temperature(*logits_of_confidence(4000, scale)) == pytest.approx(scale, rel=0.05)


def test_a_few_right_answers_do_not_make_a_classifier_infinitely_sure() -> None:
    logits = torch.tensor([[1.0, 0.0]] * 5)
    assert 0.3 < fit_temperature(logits, torch.zeros(5, dtype=torch.int64)) < 1


def test_probabilities_before_the_temperature_can_be_told_from_those_after_it() -> None:
    logits = torch.tensor([[5.0, 1.0, -3.0], [0.2, 0.1, 0.0], [90.0, -90.0, 0.0]])
    got = without_temperature((logits / 2).softmax(1).numpy(), 2.0)
    np.testing.assert_allclose(got, logits.softmax(1).numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> ImageOutcome:
    """A run on two classes that a third of the pictures are wrongly named of, so that no answer should be sure."""
    root = write_pictures(tmp_path_factory.mktemp("run") / "pictures", 20)
    for name, other in (("blue", "red"), ("red", "blue")):
        write_pictures(root / "wrong", 10, (name,), seed=1)
        for path in (root / "wrong" / name).iterdir():
            path.rename(root / other / f"wrong-{path.name}")
    shutil.rmtree(root / "wrong")
    places = {"data": root, "output": root.parent / "zoo", "runs": root.parent / "runs", "name": "colours"}
    options = {"backbone": "small_cnn", "mode": "scratch", "weights": "none", "image_size": 16, "workers": 0}
    more = {"epochs": 4, "learning_rate": 0.02, "validation": 0.3, "test": 0.3, "augment": "none", "tta": "flip"}
    return train_image(ImageSettings.model_validate(places | options | more), console=Console(quiet=True))


def test_the_published_graph_is_as_sure_as_the_card_says(outcome: ImageOutcome) -> None:
    calibration = outcome.card.calibration
    assert calibration
    assert read_card(outcome.published.path) == outcome.card
    trained, _, _ = restore_classifier(outcome.run_folder, Console(quiet=True))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    with_views = str(outcome.card.tried["test-time augmentation flip"]["kept"]).startswith("yes")
    with torch.inference_mode():
        (logits,) = PublishedClassifier(trained, views="flip" if with_views else "none")(torch.from_numpy(pixels))
    got = make_run(open_session(outcome.published.path))({"image": pixels})
    expected = (logits / calibration.temperature).softmax(1).numpy()
    np.testing.assert_allclose(got["probabilities"], expected, atol=1e-4)
    assert calibration.error_before != calibration.error_after


def test_the_report_shows_both_curves(outcome: ImageOutcome) -> None:
    assert "divided by the temperature" in write_image_report(outcome).read_text()
    plain = replace(outcome, card=outcome.card.model_copy(update={"calibration": None}))
    assert "divided by the temperature" not in write_image_report(plain).read_text()
