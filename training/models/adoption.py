"""Weights of an earlier network for one that tells the same classes, or more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from training.errors import WeightsError


def adopt_weights(
    network: nn.Module, state: Mapping[str, Tensor], before: Sequence[str] = (), now: Sequence[str] = ()
) -> None:
    """Load the weights of a network of the same kind; what it learnt of a class goes to the same class.

    Tensors whose first axis are the classes get a row for each; rows of new classes stay as they are.

    Args:
        network: to load into.
        state: of the earlier network.
        before: its classes.
        now: those of `network`.

    Raises:
        WeightsError: a class is missing now, or the networks are not of the same kind.
    """
    if missing := [name for name in before if name not in now]:
        raise WeightsError(
            f"the data have no {missing[0]!r}, which the model knows; bring examples of all its labels: "
            f"{', '.join(before)}"
        )
    own = network.state_dict()
    if odd := sorted(own.keys() ^ state.keys()):
        raise WeightsError(f"the networks differ: {odd[0]} is in one of them only; leave out what changes the network")
    moved = [(now.index(name), row) for row, name in enumerate(before)]
    in_order = len(before) == len(now) and all(new == old for new, old in moved)
    if not in_order and len(before) == len(now):
        raise WeightsError(f"the labels are in another order, {', '.join(now)} instead of {', '.join(before)}")
    for key, value in state.items():
        own[key] = value if own[key].shape == value.shape else _grown(key, own[key], value, moved)
    network.load_state_dict(own)


def _grown(key: str, own: Tensor, value: Tensor, moved: Sequence[tuple[int, int]]) -> Tensor:
    if own.shape[1:] != value.shape[1:] or value.shape[:1] != (len(moved),):
        raise WeightsError(
            f"the networks differ: {key} is {list(own.shape)} now and was {list(value.shape)}; leave out what changes "
            "the network"
        )
    grown = own.clone()
    for new, old in moved:
        grown[new] = value[old]
    return grown
