"""Image classification networks by name, from torchvision (`resnet18`) and timm (`timm/resnet10t`).

Each comes with the preprocessing that its library gives for its weights, so that nothing of it has to be configured.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision.models as torchvision_models
from torch import Tensor, nn
from torch.nn import functional

from training.errors import BackboneError
from training.models.small import DEFAULT_SIZE_PX, SMALL_NETWORKS, make_small
from zoo.card import Resize

TIMM_PREFIX = "timm/"
_WITH_AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
_AUXILIARY_WEIGHT = 0.3  # https://arxiv.org/abs/1409.4842, section 5


@dataclass(frozen=True)
class Preprocessing:
    """What a network's library does to an image before the network sees it."""

    resize: Resize
    mean: tuple[float, ...]
    """Per channel, of values from 0 to 1."""
    std: tuple[float, ...]


@dataclass(frozen=True)
class Backbone:
    """A network of some number of classes, and what belongs to it."""

    name: str
    network: nn.Module
    """NCHW, normalised -> logits; in training mode also the outputs of auxiliary heads, where it has them."""
    preprocessing: Preprocessing
    classes: int
    head_keys: frozenset[str]
    """Names of the weights that depend on the number of classes or belong to an auxiliary head."""
    licence: str = "unknown"
    """Of the library's weights."""


def make_backbone(
    name: str,
    classes: int,
    *,
    weights_file: Path | None = None,
    scratch: bool = False,
    image_size: int | None = None,
) -> Backbone:
    """Build a network with random weights.

    Args:
        name: a torchvision classification network, `timm/` and the name of a timm model, or one of `SMALL_NETWORKS`.
        classes: number of outputs.
        weights_file: the weights that will be loaded; where it is named like a file of torchvision, the preprocessing
            is that of these weights, else that of the oldest ones, for which most published files were trained.
        scratch: initialise as for a training from scratch, which takes some networks seconds.
        image_size: height and width of its images, in pixels; default: what its library gives.

    Raises:
        BackboneError: no such network; the text lists near matches.
    """
    if name in SMALL_NETWORKS:
        return _make_small(name, classes, image_size or DEFAULT_SIZE_PX)
    if name.startswith(TIMM_PREFIX):
        backbone = _make_timm(name, classes)
    else:
        backbone = _make_torchvision(name, classes, weights_file, scratch)
    return backbone if image_size is None else _resized(backbone, image_size)


def backbone_names() -> list[str]:
    """All names that `make_backbone` knows."""
    return [*SMALL_NETWORKS, *torchvision_names(), *(TIMM_PREFIX + name for name in timm.list_models())]


def torchvision_names() -> list[str]:
    """The classification networks of torchvision."""
    return list(torchvision_models.list_models(module=torchvision_models))


def find_torchvision_weights(name: str, weights_file: Path | None) -> Any:
    """The entry of torchvision's table of weights that a file is by its name; else the oldest entry."""
    entries = list(torchvision_models.get_model_weights(name))
    named = [entry for entry in entries if weights_file and Path(entry.url).stem == weights_file.stem]
    return (named or entries)[0]


def classification_loss(output: Tensor | Sequence[Tensor], target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of logits.

    Args:
        output: logits [N, K]; or several, where those after the first are of auxiliary heads and count 0.3.
        target: class indexes [N].
        label_smoothing: share of the target that is spread over all classes.
    """
    outputs = [output] if isinstance(output, Tensor) else list(output)
    main, *auxiliary = (functional.cross_entropy(logits, target, label_smoothing=label_smoothing) for logits in outputs)
    return main + _AUXILIARY_WEIGHT * torch.stack(auxiliary).sum() if auxiliary else main


def find_head(backbone: Backbone) -> nn.Module:
    """The layer that gives the logits; auxiliary heads are not meant.

    Raises:
        BackboneError: there are several.
    """
    return backbone.network.get_submodule(head_name(backbone))


def head_name(backbone: Backbone) -> str:
    """Name of the layer that gives the logits, e.g. `classifier.1`."""
    auxiliary = _WITH_AUXILIARY_HEADS.get(backbone.name, ())
    names = {key.rpartition(".")[0] for key in backbone.head_keys if key.split(".")[0] not in auxiliary}
    if len(names) != 1:
        raise BackboneError(f"{backbone.name} has no single last layer ({sorted(names)}); take another backbone")
    return names.pop()


def library_labels(name: str) -> tuple[str, ...]:
    """The labels that a library has for its weights of a network; none where it has none.

    Raises:
        BackboneError: there is no such network.
    """
    if name in SMALL_NETWORKS:
        return ()
    if name.startswith(TIMM_PREFIX):
        return _timm_labels(name)
    if name not in torchvision_names():
        raise _unknown(name)
    return tuple(find_torchvision_weights(name, None).meta["categories"])


def _make_small(name: str, classes: int, size_px: int) -> Backbone:
    network = make_small(name, classes, size_px)
    half = (0.5, 0.5, 0.5)
    resize = Resize(shorter_side_px=size_px, height_px=size_px, width_px=size_px)
    keys = frozenset({"head.weight", "head.bias"})
    return Backbone(name, network, Preprocessing(resize, half, half), classes, keys, "Apache-2.0")


def _resized(backbone: Backbone, size_px: int) -> Backbone:
    """The backbone for images of another size, scaled in proportion before they are cropped.

    Raises:
        BackboneError: it cannot take them.
    """
    resize = backbone.preprocessing.resize
    shorter = resize.shorter_side_px and round(resize.shorter_side_px * size_px / resize.height_px)
    resize = resize.model_copy(update={"shorter_side_px": shorter, "height_px": size_px, "width_px": size_px})
    mode = backbone.network.training
    try:
        with torch.no_grad():
            backbone.network.eval()(torch.zeros(1, 3, size_px, size_px))
    except (RuntimeError, AssertionError, ValueError) as exc:
        reason = str(exc).partition("\n")[0] or type(exc).__name__
        raise BackboneError(f"{backbone.name} cannot take images of {size_px} pixels ({reason})") from exc
    backbone.network.train(mode)
    return replace(backbone, preprocessing=replace(backbone.preprocessing, resize=resize))


def _make_torchvision(name: str, classes: int, weights_file: Path | None, scratch: bool) -> Backbone:
    if name not in torchvision_names():
        raise _unknown(name)
    entry = find_torchvision_weights(name, weights_file)
    options: dict[str, Any] = {}
    if name in _WITH_AUXILIARY_HEADS:
        # transform_input: torchvision's weights of the two were trained on other means than the ones it gives for them.
        options = {"aux_logits": True, "transform_input": True, "init_weights": scratch}
    network = torchvision_models.get_model(name, weights=None, num_classes=classes, **options)
    other = _shapes_of(lambda: torchvision_models.get_model(name, weights=None, num_classes=classes + 1, **options))
    auxiliary = _WITH_AUXILIARY_HEADS.get(name, ())
    keys = _differing_keys(network, other) | {key for key in network.state_dict() if key.split(".")[0] in auxiliary}
    return Backbone(name, network, _torchvision_preprocessing(entry), classes, frozenset(keys), "BSD-3-Clause")


def _torchvision_preprocessing(entry: Any) -> Preprocessing:
    preset = entry.transforms()
    resize = Resize(
        shorter_side_px=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        height_px=preset.crop_size[0],
        width_px=preset.crop_size[-1],
        reduced_decoding=True,
    )
    return Preprocessing(resize, tuple(preset.mean), tuple(preset.std))


def _make_timm(name: str, classes: int) -> Backbone:
    short = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(short):
        raise _unknown(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Overwriting.*in registry")
        network = timm.create_model(short, pretrained=False, num_classes=classes)
        other = _shapes_of(lambda: timm.create_model(short, pretrained=False, num_classes=classes + 1))
    keys = frozenset(_differing_keys(network, other))
    licence = network.pretrained_cfg.get("license") or "unknown"
    return Backbone(name, network, _timm_preprocessing(name, network), classes, keys, licence)


def _timm_preprocessing(name: str, network: nn.Module) -> Preprocessing:
    config = timm.data.resolve_model_data_config(network)
    channels, height, width = config["input_size"]
    if channels != 3:
        raise BackboneError(f"{name} takes {channels} channels; take a backbone for RGB images")
    squash = config["crop_mode"] == "squash"
    # timm cuts off the fraction of the scaled side; `int` as in timm.data.transforms_factory.transforms_imagenet_eval.
    resize = Resize(
        shorter_side_px=None if squash else int(max(height, width) / config["crop_pct"]),
        interpolation=config["interpolation"] if config["interpolation"] != "random" else "bilinear",
        height_px=height,
        width_px=width,
        reduced_decoding=True,
    )
    return Preprocessing(resize, tuple(config["mean"]), tuple(config["std"]))


def _timm_labels(name: str) -> tuple[str, ...]:
    short = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(short):
        raise _unknown(name)
    config = timm.get_pretrained_cfg(short)
    subset = timm.data.infer_imagenet_subset({"num_classes": config.num_classes}) if config else None
    return tuple(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else ()


def _shapes_of(make: Callable[[], nn.Module]) -> nn.Module:
    """A network that is made for the shapes of its weights; without memory for them, where it can be."""
    try:
        with torch.device("meta"):
            return make()
    except NotImplementedError:  # RegNet computes its widths with tensors
        return make()


def _differing_keys(network: nn.Module, other: nn.Module) -> set[str]:
    """Weights whose shape depends on the number of classes."""
    shapes = {key: value.shape for key, value in other.state_dict().items()}
    return {key for key, value in network.state_dict().items() if value.shape != shapes[key]}


def _unknown(name: str) -> BackboneError:
    near = difflib.get_close_matches(name, backbone_names(), n=4, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "take a name such as resnet18, or timm/NAME"
    return BackboneError(f"there is no backbone {name!r}; {hint}")
