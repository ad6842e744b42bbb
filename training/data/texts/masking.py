"""Texts of which some tokens are hidden, to learn a language from what stands around them.

The task of BERT (J. Devlin et al. 2019, https://arxiv.org/abs/1810.04805) with spans instead of single tokens, as in
SpanBERT (M. Joshi et al. 2020, https://arxiv.org/abs/1907.10529): a syllable alone is easily guessed from its word.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from training.data.texts.batches import Item, TokenDataset, collate_texts
from training.data.texts.token_graph import UNKNOWN_ID

Masked = tuple[tuple[Tensor, Tensor], Tensor]
"""Inputs, ids int64 [N, T] and where some are hidden bool [N, T]; and those that are hidden, int64 [M]."""
_START, _LONGEST = 0.09, 3  # a span of 1 to 3 tokens begins at each eleventh token: a sixth of all is hidden


def mask_tokens(ids_NT: Tensor, classes_N: Tensor, generator: torch.Generator | None = None) -> Masked:  # noqa: ARG001
    """Hide some of the tokens: they become unknown. Padding and unknown tokens are not hidden, and one at least is.

    Args:
        ids_NT: of a batch.
        classes_N: are not looked at.
        generator: of the choice; default: torch's own.
    """
    begins_NT = torch.rand(ids_NT.shape, generator=generator) < _START
    lengths_NT = torch.randint(1, _LONGEST + 1, ids_NT.shape, generator=generator)
    hidden_NT = torch.zeros_like(begins_NT)
    for offset in range(min(_LONGEST, ids_NT.shape[1])):
        covered_NT = begins_NT & (lengths_NT > offset)
        hidden_NT[:, offset:] |= covered_NT[:, : ids_NT.shape[1] - offset]
    hidden_NT &= ids_NT.cpu() > UNKNOWN_ID
    hidden_NT[0, 0] |= ~hidden_NT.any()
    hidden_NT = hidden_NT.to(ids_NT.device)
    return (ids_NT.masked_fill(hidden_NT, UNKNOWN_ID), hidden_NT), ids_NT[hidden_NT]


def masked_batches(data: TokenDataset, batch_size: int) -> DataLoader[Item]:
    """The same batches with the same tokens hidden, in the order of the data."""
    return DataLoader(data, batch_size=batch_size, collate_fn=_collate_masked)


def _collate_masked(items: list[Item]) -> Masked:
    return mask_tokens(*collate_texts(items), torch.Generator().manual_seed(0))
