"""Weights to start from: a library's own pre-trained ones, or a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision.models as torchvision_models
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from training.errors import WeightsError
from training.hashing import file_sha256
from training.models.backbones import TIMM_PREFIX, Backbone
from training.models.small import SMALL_NETWORKS

StateDict = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
_PREFIXES = ("module.", "model.", "network.", "_orig_mod.")
_HEAD_NAMES = ("fc.", "classifier.", "head.", "heads.", "last_linear.", "aux1.", "aux2.", "AuxLogits.")
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})$")


@dataclass(frozen=True)
class LoadReport:
    """What a set of weights and a network had in common; names of weights."""

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """In the network, not in the weights."""
    unexpected: tuple[str, ...]
    """In the weights, not in the network."""
    mismatched: tuple[str, ...]
    """In both, with different shapes, as `fc.weight [1000, 512] instead of [5, 512]`."""
    notes: tuple[str, ...] = ()
    sha256: str = ""
    """Of the file that the weights come from."""

    @property
    def origin(self) -> str:
        """Where the weights come from, for a card."""
        return f"{self.source}, sha256 {self.sha256}" if self.sha256 else self.source

    def lines(self) -> list[str]:
        """The report for people."""
        lists = {"missing": self.missing, "unexpected": self.unexpected, "other shape": self.mismatched}
        rows = [f"{len(self.loaded)} weights loaded from {self.source}"]
        rows += [f"  {len(keys)} {what}: {_first(keys)}" for what, keys in lists.items() if keys]
        return [*rows, *(f"  note: {note}" for note in self.notes)]


def load_weights(backbone: Backbone, weights: str) -> LoadReport:
    """Load weights into a backbone in place.

    Args:
        backbone: as made by `make_backbone`.
        weights: "pretrained" for those of the backbone's library, or a path.

    Returns:
        What was loaded. Weights of the head that do not fit are left at their random values.

    Raises:
        WeightsError: the weights cannot be had or read, or other weights than those of the head do not fit.
    """
    if weights == "pretrained":
        return _load_state(backbone, fetch_pretrained(backbone.name), f"the pre-trained weights of {backbone.name}", ())
    path = Path(weights).expanduser()
    state, notes = read_weights(path)
    return replace(_load_state(backbone, state, path.name, notes), sha256=file_sha256(path))


def read_weights(path: Path) -> tuple[StateDict, tuple[str, ...]]:
    """Read a safetensors file, or a torch checkpoint without running any code in it.

    Wrappers such as `{"state_dict": ...}` and prefixes such as `module.` are taken off.

    Returns:
        The weights, and notes for people.

    Raises:
        WeightsError: the file cannot be read, or its name has a hash that is not that of its content.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; --weights takes pretrained, none, or a file")
    notes = _check_hash(path)
    try:
        if path.suffix == ".safetensors":
            return _unwrap(load_file(path), path.name), notes
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as exc:
        raise WeightsError(f"{path.name} is not a complete safetensors file: {exc}") from exc
    except Exception as exc:  # pickle, zip and torch each have their own
        reason = str(exc).partition("\n")[0] or type(exc).__name__
        raise WeightsError(
            f"{path.name} cannot be read as a torch checkpoint of tensors only ({reason}); "
            f"save a state_dict, or convert it to safetensors where you trust it"
        ) from exc
    return _unwrap(content, path.name), notes


def fetch_pretrained(name: str) -> StateDict:
    """Pre-trained weights through the library's own loading, from its cache or its hub.

    Raises:
        WeightsError: there are none, or the hub cannot be reached.
    """
    try:
        if name.startswith(TIMM_PREFIX):
            network = timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=True)
            return dict(network.state_dict())
        if name in SMALL_NETWORKS:
            raise LookupError("it is trained from scratch")
        entry = torchvision_models.get_model_weights(name).DEFAULT
        return dict(entry.get_state_dict(progress=True, check_hash=True))
    except Exception as exc:  # urllib, requests and the hub's client each have their own
        reason = str(exc).partition("\n")[0] or type(exc).__name__
        raise WeightsError(
            f"the pre-trained weights of {name} cannot be fetched ({reason}); "
            f"download them where the network allows it and pass --weights FILE, or train with --weights none"
        ) from exc


def _load_state(backbone: Backbone, state: StateDict, source: str, notes: tuple[str, ...]) -> LoadReport:
    own = _without_counters(backbone.network.state_dict())
    state = _without_counters(state)
    fitting = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    differing = sorted(key for key in state if key in own and key not in fitting)
    missing = sorted(set(own) - set(state))
    unexpected = sorted(set(state) - set(own))
    report = LoadReport(
        source,
        loaded=tuple(fitting),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        mismatched=tuple(f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}" for key in differing),
        notes=notes,
    )
    wrong = {*missing, *differing} - backbone.head_keys
    wrong |= {key for key in unexpected if not key.startswith(_HEAD_NAMES)}
    if wrong:
        raise WeightsError(_mismatch(backbone, report, len(own), wrong))
    backbone.network.load_state_dict(fitting, strict=False)
    return report


def _without_counters(state: StateDict) -> StateDict:
    """Without batch norm's count of batches, which old checkpoints lack and nothing here reads."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _mismatch(backbone: Backbone, report: LoadReport, total: int, wrong: set[str]) -> str:
    lists = {"missing": report.missing, "unexpected": report.unexpected, "of another shape": report.mismatched}
    rows = "; ".join(f"{len(keys)} {what} ({_first(keys)})" for what, keys in lists.items() if keys)
    parts = ", ".join(sorted({key.split(".")[0] for key in report.missing}))
    return (
        f"{report.source} does not hold the weights of {backbone.name}: {len(report.loaded)} of {total} fit, "
        f"{len(wrong)} outside the head do not. {rows[0].upper()}{rows[1:]}"
        f"{f'; something is missing in: {parts}' if parts else ''}. "
        f"Take a file of this very network, or the backbone that the file was made for"
    )


def _unwrap(content: Any, name: str) -> StateDict:
    while isinstance(content, dict) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{name} holds no state_dict: its content is a {type(content).__name__} without weights")
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    while prefix := next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _check_hash(path: Path) -> tuple[str, ...]:
    """Compare the start of the SHA-256 in a file name, as in `resnet18-f37072fd.pth`, with the content."""
    match = _HASH_IN_NAME.search(path.stem)
    if not match:
        return ()
    digest = file_sha256(path)
    if digest.startswith(match[1]):
        return (f"SHA-256 {match[1]} in the file name is right",)
    if path.suffix == ".safetensors":
        # The convention is torch.hub's for its checkpoints; conversions keep the name of what they were made from.
        return (f"{match[1]} in the file name is not the SHA-256 of this file; was it converted?",)
    raise WeightsError(
        f"{path.name} is damaged or not what its name says: its SHA-256 starts with {digest[: len(match[1])]}, "
        f"the name says {match[1]}; download it again"
    )


def _first(keys: tuple[str, ...] | list[str], count: int = 4) -> str:
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more
