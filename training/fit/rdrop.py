"""R-Drop: two passes with different dropout shall give the same answer.

X. Liang et al., "R-Drop: Regularized Dropout for Neural Networks", NeurIPS 2021, https://arxiv.org/abs/2106.14448.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def see_twice(inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """A training batch that holds each item twice, [2N, ..]: one pass draws two masks of dropout for each."""
    return torch.cat([inputs, inputs]), torch.cat([target, target])


class RDropLoss(nn.Module):
    """A classifier's loss, and in training the divergence of the two answers that an item was given.

    Args:
        loss: of logits [N, classes, ..] and classes [N].
        weight: of the divergence, the mean of the Kullback-Leibler divergences in both directions, in nats; the paper's
            alpha is twice as much, as it adds the two losses where this takes their mean.
    """

    def __init__(self, loss: nn.Module, weight: float) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of a batch that `see_twice` made, or in evaluation of a plain one."""
        loss: Tensor = self.loss(logits, target)
        return loss + self.weight * _divergence(*logits.chunk(2)) if self.training else loss


def _divergence(first_NC: Tensor, second_NC: Tensor) -> Tensor:
    """(KL(p, q) + KL(q, p)) / 2, mean over the items: half of the sum of (p - q) * (log p - log q)."""
    logs = first_NC.log_softmax(1), second_NC.log_softmax(1)
    difference: Tensor = (logs[0].exp() - logs[1].exp()) * (logs[0] - logs[1])
    return difference.sum(1).mean() / 2
