"""What training does to the layers of any network: batch norm, dropout, and a hash of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


def freeze_batch_norm(network: nn.Module) -> None:
    """Put batch norm into evaluation mode: it keeps its statistics, whatever the batches are."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def batch_norm_is_folded(network: nn.Module) -> bool:
    """Whether the statistics of batch norm are artificial, because they were folded into the convolutions.

    Such a network computes nonsense when batch norm uses the statistics of the batch.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    means = [norm.running_mean for norm in norms if norm.running_mean is not None]
    return bool(means) and all(bool((mean == 0).all()) for mean in means)


def set_dropout(network: nn.Module, head: nn.Module, share: float) -> None:
    """Set the dropout layers of a network; where it has none, drop inputs of its head."""
    layers = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    for layer in layers:
        layer.p = share
    if not layers:
        head.register_forward_pre_hook(lambda module, inputs: _dropped(module, inputs, share))


def state_hash(network: nn.Module, without: Collection[str] = ()) -> str:
    """SHA-256 over names and values of weights and statistics, but for those in `without`."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if name not in without:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _dropped(module: nn.Module, inputs: tuple[Any, ...], share: float) -> tuple[Tensor, ...]:
    first, *rest = inputs
    return functional.dropout(first, share, module.training), *rest
