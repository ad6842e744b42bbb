"""What the last layer of a backbone gets for each image: computed once, and kept for runs with the same backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.progress import track
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.data.images import EvaluationImages
from training.errors import BackboneError
from training.models.backbones import Backbone
from training.models.image import Head, ImageClassifier
from training.models.layers import state_hash
from training.pipelines.image.loading import evaluation_loader
from training.processes import is_first_process
from training.runs import TrainingRun
from training.settings import ImageSettings

_LARGEST_KEPT = 512_000_000
"""Bytes; what the convolutional head of a SqueezeNet gets is larger for more than a thousand images."""


def head_features(
    classifier: ImageClassifier,
    backbone: Backbone,
    head: Head,
    images: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
    part: str,
) -> tuple[Tensor, Tensor]:
    """Inputs of the head [N, ..] and classes [N], from `RUNS/features/` where an earlier run left them.

    Raises:
        BackboneError: something is computed behind the last layer.
    """
    kept = settings.runs / "features" / f"{_key(backbone, images)}.safetensors"
    classes = torch.tensor([images.images.items[index].label for index in images.indexes])
    if kept.is_file():
        run.say(f"features of the {part} part from {kept}")
        return load_file(kept)["features"], classes
    features = _compute(classifier, head, images, settings, run, f"features of the {part} part")
    if features.nbytes <= _LARGEST_KEPT and is_first_process():
        _keep(features, kept, run)
    return features, classes


def _keep(features: Tensor, path: Path, run: TrainingRun) -> None:
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"features": features}, partial)
        partial.replace(path)
    except (OSError, SafetensorError) as exc:  # they are a convenience
        run.say(f"the features are not kept for other runs: {exc}", style="yellow")
        partial.unlink(missing_ok=True)


def _key(backbone: Backbone, images: EvaluationImages) -> str:
    """Everything that the features depend on: weights, preprocessing, and the images in their order."""
    digest = hashlib.sha256(state_hash(backbone.network, without=backbone.head_keys).encode())
    digest.update(repr((backbone.name, backbone.preprocessing)).encode())
    for index in images.indexes:
        digest.update(images.images.digests[index].encode() + repr(images.images.items[index].box).encode())
    return digest.hexdigest()[:32]


def _compute(
    classifier: ImageClassifier,
    head: Head,
    images: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
    what: str,
) -> Tensor:
    loader = evaluation_loader(images, settings, workers=settings.workers)
    device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    classifier.to(device).eval()
    head.eval()
    features: list[Tensor] = []
    with torch.inference_mode(), _inputs_of(head.layer) as seen:
        for pixels, _ in track(loader, what, console=run.console, transient=True):
            logits = classifier(pixels.to(device))
            if not features and not torch.allclose(head(seen[0].to(device)), logits, rtol=1e-3, atol=1e-3):
                raise BackboneError("this backbone computes something behind its last layer; use --mode finetune")
            features.append(seen[0])
            seen.clear()
    classifier.cpu()
    # Tensors of the inference mode cannot take part in a training step.
    return torch.cat(features).clone(memory_format=torch.contiguous_format)


@contextmanager
def _inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Within, what the layer is called with is collected."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].cpu()))
    try:
        yield seen
    finally:
        hook.remove()
