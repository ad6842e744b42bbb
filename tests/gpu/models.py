"""The models: one of each family of backbones with random weights, and its half-precision version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.inputs import photographs
from tests.gpu.bench import Bench
from training.export.golden import make_golden
from training.export.half import to_float16
from training.export.image import export_image_classifier, torch_run
from training.export.provenance import now
from training.models.backbones import make_backbone
from training.models.image import ImageClassifier
from zoo.card import Card, Golden, ImageTask, Provenance, Resize
from zoo.image import prepare_image
from zoo.repository import MODEL_FILE, publish

CLASSES = 1000
TOLERANCE = 1e-3
HALF_TOLERANCE = 3e-2
"""Random weights name no class clearly, so that probabilities follow small differences of logits: up to 0.011 seen."""
MAIN = "resnet50"
"""The family that throughput is measured with."""
HALF = "-fp16"


def make_models(bench: Bench) -> None:
    """Export and publish every family in float32 and in half precision."""
    for family in bench.families:
        name = model_name(family)
        torch.manual_seed(0)
        classifier, card = make_classifier(family)
        assert isinstance(card.task, ImageTask)
        onnx_bytes = export_image_classifier(classifier, card.task.resize)
        publish(onnx_bytes, card, bench.models, name)
        golden = card.golden.model_copy(update={"atol": HALF_TOLERANCE})
        publish(to_float16(onnx_bytes), card.model_copy(update={"golden": golden}), bench.models, name + HALF)
        bench.report.check(f"{name} and {name}{HALF} are exported", True)


def model_name(family: str) -> str:
    """How a family is called in the repository."""
    return family.rpartition("/")[2]


def model_file(bench: Bench, family: str, *, half: bool = False) -> Path:
    """The file of a model that `make_models` made."""
    return bench.models / (model_name(family) + (HALF if half else "")) / "1" / MODEL_FILE


def make_classifier(family: str) -> tuple[ImageClassifier, Card]:
    """A network with random weights, in evaluation mode, and its card."""
    backbone = make_backbone(family, CLASSES, scratch=True)
    classifier = ImageClassifier(backbone)
    resize = backbone.preprocessing.resize
    _settle_batch_norm(classifier, pictures(8, resize, seed=900))
    golden = make_golden(photographs(2, seed=700), resize, torch_run(classifier.eval()), atol=TOLERANCE, rtol=0)
    labels = tuple(f"class {number}" for number in range(CLASSES))
    return classifier, _card(family, ImageTask(labels=labels, resize=resize), golden)


def pictures(count: int, resize: Resize, seed: int = 1) -> np.ndarray:
    """Photographs as a graph takes them, uint8 [N, H, W, 3]."""
    return np.stack([prepare_image(photograph, resize) for photograph in photographs(count, seed)])


def _settle_batch_norm(classifier: ImageClassifier, images: np.ndarray) -> None:
    """Statistics of some pictures; without them the values of a deep network with random weights grow for ever."""
    norms = [module for module in classifier.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # an average over all that it sees
    classifier.train()
    with torch.no_grad():
        classifier(torch.from_numpy(images))


def _card(family: str, task: ImageTask, golden: Golden) -> Card:
    provenance = Provenance(created=now(), recipe="tests.gpu.models", data="none", data_sha256="")
    return Card(
        name=model_name(family),
        description=f"{family} with random weights",
        task=task,
        licence="Apache-2.0",
        provenance=provenance,
        golden=golden,
    )
