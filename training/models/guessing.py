"""A network that guesses hidden tokens: what a text classifier can learn without labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.text import Committee, TextClassifier


class TokenGuesser(nn.Module):
    """Token ids int64 [N, T], some of them hidden, and where bool [N, T] -> logits of the hidden ones [M, vocabulary].

    A linear layer over the states of a classifier, then its own vectors of tokens, so that both learn (tied weights, O.
    Press and L. Wolf 2017, https://arxiv.org/abs/1608.05859).

    Args:
        network: with vectors of tokens; it is trained in place, but for its last layer.
    """

    def __init__(self, network: TextClassifier) -> None:
        super().__init__()
        assert isinstance(network.tokens, nn.Embedding), "the settings refuse to guess tokens that have no vectors"
        self.network = network
        network.head.requires_grad_(False)  # it takes no part; processes that train together have to know
        self.tokens = network.tokens
        self.to_vector = nn.Linear(network.state_size, network.tokens.embedding_dim)
        self.bias_V = nn.Parameter(torch.zeros(network.tokens.num_embeddings))

    def forward(self, ids_NT: Tensor, hidden_NT: Tensor) -> Tensor:
        """Guess."""
        states_MH = self.network.states(ids_NT)[hidden_NT]
        return nn.functional.linear(self.to_vector(states_MH), self.tokens.weight, self.bias_V)


def guesser_of(network: nn.Module) -> nn.Module:
    """What trains a classifier, or each of a committee, to guess tokens."""
    if isinstance(network, Committee):
        return Committee([guesser_of(member) for member in network.members])
    assert isinstance(network, TextClassifier), f"{type(network).__name__} cannot guess tokens. This is a bug."
    return TokenGuesser(network)
