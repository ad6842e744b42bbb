"""Recurrent and convolutional classifiers of token sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from training.models.convolution import Convolutions
from training.models.hangul import HangulVectors
from training.models.ngrams import PADDING_ID, UNKNOWN_ID, ngram_buckets
from training.models.recurrent import CellKind, Recurrent

NetworkKind = Literal["recurrent", "convolution", "convolution_recurrent"]


class TextClassifier(nn.Module):
    """Token ids int64 [N, T] -> logits [N, classes].

    Embedding, convolutions or recurrent layers or both, then a linear layer over three views of the sequence: mean and
    maximum of the states and mean of the embeddings, each over the true length. Nothing depends on the padding.

    Args:
        vocabulary_size: ids, padding (0) included.
        classes: number of them.
        embedding_size: width of a token's vector.
        one_hot: instead of a vector that is learned, a token has a 1 at its own place.
        ngrams: the vector of a token is the sum of its own and of those of the 2-, .. n-grams that end there.
        buckets: rows of the table of each n > 1; n-grams are hashed into them.
        hangul: of the same embedding size; its vectors are added.
        network: recurrent layers, convolutions, or recurrent layers over what convolutions give.
        convolutions, kernel: number and width of the convolutions.
        cell, hidden_size, layers, bidirectional, reverse, recurrent_dropout: of the recurrent layers; `hidden_size`
            also of the convolutions.
        dropout: before the linear layer and between layers.
        token_dropout: chance that a token's vector is zeroed as a whole, in training.
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        *,
        embedding_size: int = 64,
        one_hot: bool = False,
        ngrams: int = 1,
        buckets: int = 2**15,
        hangul: HangulVectors | None = None,
        network: NetworkKind = "recurrent",
        convolutions: int = 2,
        kernel: int = 3,
        cell: CellKind = "gru",
        hidden_size: int = 96,
        layers: int = 1,
        bidirectional: bool = True,
        reverse: bool = False,
        recurrent_dropout: float = 0.0,
        dropout: float = 0.5,
        token_dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.tokens: nn.Embedding | OneHot
        if one_hot:
            self.tokens = OneHot(vocabulary_size)
            embedding_size = self.tokens.output_size
        else:
            self.tokens = token_embedding(vocabulary_size, embedding_size)
        tables = [nn.Embedding(buckets, embedding_size) for _ in range(ngrams - 1)]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)  # a refinement of the tokens' own vectors, which start with 1
        self.ngrams = nn.ModuleList(tables)
        self.buckets = buckets
        self.hangul = hangul
        self.convolutions: Convolutions | None = None
        self.recurrent: Recurrent | None = None
        size = embedding_size
        if network != "recurrent":
            self.convolutions = Convolutions(size, hidden_size, layers=convolutions, kernel=kernel, dropout=dropout)
            size = hidden_size
        if network != "convolution":
            self.recurrent = Recurrent(
                *(cell, size, hidden_size),
                layers=layers,
                bidirectional=bidirectional,
                reverse=reverse,
                dropout=dropout,
                recurrent_dropout=recurrent_dropout,
            )
            size = self.recurrent.output_size
        self.state_size = size
        self.token_dropout = nn.Dropout1d(token_dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * size + embedding_size, classes)

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Classify; padding is behind the tokens of each row, and a row of padding alone is an empty text."""
        mask_NT1 = (ids_NT != PADDING_ID).unsqueeze(2)
        lengths_N1 = mask_NT1.sum(1).clamp(min=1)
        vectors_NTE = self.token_dropout(self._embed(ids_NT) * mask_NT1)
        states_NTH = self._read(vectors_NTE, mask_NT1, lengths_N1)
        views = [
            states_NTH.sum(1) / lengths_N1,
            states_NTH.masked_fill(~mask_NT1, -1.0).amax(1),  # no state is less
            vectors_NTE.sum(1) / lengths_N1,
        ]
        logits: Tensor = self.head(self.dropout(torch.cat(views, dim=1)))
        return logits

    def states(self, ids_NT: Tensor) -> Tensor:
        """What the layers below the last one make of each token, [N, T, state_size]; no token is dropped."""
        mask_NT1 = (ids_NT != PADDING_ID).unsqueeze(2)
        return self._read(self._embed(ids_NT) * mask_NT1, mask_NT1, mask_NT1.sum(1).clamp(min=1))

    def _read(self, vectors_NTE: Tensor, mask_NT1: Tensor, lengths_N1: Tensor) -> Tensor:
        states_NTH = vectors_NTE
        if self.convolutions is not None:
            states_NTH = self.convolutions(states_NTH, mask_NT1)
        if self.recurrent is not None:
            states_NTH = self.recurrent(states_NTH, lengths_N1.squeeze(1))
        return states_NTH

    def _embed(self, ids_NT: Tensor) -> Tensor:
        vectors_NTE: Tensor = self.tokens(ids_NT)
        if self.ngrams:
            grams = ngram_buckets(ids_NT, len(self.ngrams) + 1, self.buckets)
            for table, rows_NT in zip(self.ngrams, grams[1:], strict=True):
                vectors_NTE = vectors_NTE + table(rows_NT)
        if self.hangul is not None:
            vectors_NTE = vectors_NTE + self.hangul(ids_NT)
        return vectors_NTE


class OneHot(nn.Module):
    """Token ids int64 [N, T] -> float32 [N, T, output_size]: a 1 at the token's place, all zeros where it is unknown.

    Args:
        vocabulary_size: ids, padding (0) and unknown (1) included.
    """

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.output_size = vocabulary_size - UNKNOWN_ID - 1
        self.register_buffer("places_S", torch.arange(UNKNOWN_ID + 1, vocabulary_size), persistent=False)
        self.places_S: Tensor

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Encode."""
        return (ids_NT.unsqueeze(2) == self.places_S).float()


def token_embedding(vocabulary_size: int, embedding_size: int) -> nn.Embedding:
    """Random vectors; padding and unknown have zeros, as a token that token_dropout hides."""
    embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PADDING_ID)
    with torch.no_grad():
        embedding.weight[UNKNOWN_ID] = 0
    return embedding


class Committee(nn.Module):
    """Several classifiers of one kind that read the same ids and start from different weights.

    In evaluation it gives the mean of their logits [N, classes]; in training all of them, [N, classes, members], so
    that each learns on its own: averaged before the loss they would learn to lean on each other.

    Args:
        members: of the same inputs -> logits [N, classes].
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Classify."""
        logits_NCM = torch.stack([member(*inputs) for member in self.members], dim=2)
        return logits_NCM if self.training else logits_NCM.mean(2)


class CommitteeLoss(nn.CrossEntropyLoss):
    """Cross-entropy of logits [N, classes], or its mean over the members of a committee, [N, classes, members]."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        if input.ndim == 3:
            target = target.unsqueeze(1).expand(-1, input.shape[2])
        return super().forward(input, target)


class LogLoss(Metric):
    """Mean negative log-likelihood of the true class, in nats, of logits [N, classes]."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        self.total: Tensor
        self.count: Tensor

    def update(self, logits: Tensor, classes: Tensor) -> None:
        """Add a batch."""
        self.total += nn.functional.cross_entropy(logits, classes, reduction="sum")
        self.count += len(classes)

    def compute(self) -> Tensor:
        """The mean of all batches."""
        return self.total / self.count
