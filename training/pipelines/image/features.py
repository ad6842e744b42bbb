"""What the last layer of a backbone gets for each image: computed once, and kept for all runs with the same backbone.

What is kept belongs to an image, not to a part, so that folds and other splits of the same images find it. It depends
on nothing but the image: it is computed in batches of one size, since the last bits of a sum may depend on that.
"""

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
from torch.utils.data import DataLoader

from training.data.images import EvaluationImages
from training.errors import BackboneError
from training.models.backbones import Backbone
from training.models.image import Head, ImageClassifier
from training.models.layers import state_hash
from training.processes import is_first_process
from training.runs import TrainingRun
from training.settings import ImageSettings

_BATCH = 32
_LARGEST_KEPT = 512_000_000
"""Bytes; what the convolutional head of a SqueezeNet gets is larger for more than a thousand images."""

Kept = dict[bytes, Tensor]
"""What the head gets, by the SHA-256 of an image and of the box in it."""


def head_features(
    classifier: ImageClassifier,
    backbone: Backbone,
    head: Head,
    images: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
    part: str,
) -> tuple[Tensor, Tensor]:
    """Inputs of the head [N, ..] and classes [N]; `RUNS/features/` has those of images that were seen before.

    Raises:
        BackboneError: something is computed behind the last layer.
    """
    file = settings.runs / "features" / f"{_key(backbone)}.safetensors"
    names = [_name(images, index) for index in images.indexes]
    known = _read(file, run)
    if missing := {name: index for name, index in zip(names, images.indexes, strict=True) if name not in known}:
        others = EvaluationImages(images.images, tuple(missing.values()), images.resize)
        computed = _compute(classifier, head, others, settings, run, f"features of the {part} part")
        known |= dict(zip(missing, computed, strict=True))
        if is_first_process():
            _keep(known, set(names), file, run)
    else:
        run.say(f"features of the {part} part from {file}")
    classes = torch.tensor([images.images.items[index].label for index in images.indexes])
    return torch.stack([known[name] for name in names]), classes


def _read(file: Path, run: TrainingRun) -> Kept:
    if not file.is_file():
        return {}
    try:
        kept = load_file(file)
    except (OSError, SafetensorError) as exc:
        run.say(f"{file} cannot be read, the features are computed anew: {exc}", style="yellow")
        return {}
    return dict(zip(map(bytes, kept["images"].numpy()), kept["features"], strict=True))


def _keep(known: Kept, used: set[bytes], file: Path, run: TrainingRun) -> None:
    """Write all that is known; where that is too much, what was used now."""
    if sum(features.nbytes for features in known.values()) > _LARGEST_KEPT:
        known = {name: features for name, features in known.items() if name in used}
    if sum(features.nbytes for features in known.values()) > _LARGEST_KEPT:
        return
    names = torch.frombuffer(bytearray(b"".join(known)), dtype=torch.uint8).reshape(len(known), -1)
    partial = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"images": names, "features": torch.stack(list(known.values()))}, partial)
        partial.replace(file)
    except (OSError, SafetensorError) as exc:  # they are a convenience
        run.say(f"the features are not kept for other runs: {exc}", style="yellow")
        partial.unlink(missing_ok=True)


def _key(backbone: Backbone) -> str:
    """Everything beside the image that the features depend on: weights and preprocessing."""
    digest = hashlib.sha256(state_hash(backbone.network, without=backbone.head_keys).encode())
    digest.update(repr((backbone.name, backbone.preprocessing)).encode())
    return digest.hexdigest()[:32]


def _name(images: EvaluationImages, index: int) -> bytes:
    item = f"{images.images.digests[index]} {images.images.items[index].box!r}"
    return hashlib.sha256(item.encode()).digest()


def _compute(
    classifier: ImageClassifier,
    head: Head,
    images: EvaluationImages,
    settings: ImageSettings,
    run: TrainingRun,
    what: str,
) -> Tensor:
    loader = DataLoader(images, _BATCH, num_workers=settings.workers)
    device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    classifier.to(device).eval()
    head.eval()
    features: list[Tensor] = []
    with torch.inference_mode(), _inputs_of(head.layer) as seen:
        for pixels, _ in track(loader, what, console=run.console, transient=True):
            full = torch.cat([pixels, pixels[:1].expand(_BATCH - len(pixels), -1, -1, -1)])
            logits = classifier(full.to(device))
            if not features and not torch.allclose(head(seen[0].to(device)), logits, rtol=1e-3, atol=1e-3):
                raise BackboneError("this backbone computes something behind its last layer; use --mode finetune")
            features.append(seen[0][: len(pixels)])
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
