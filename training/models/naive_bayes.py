"""Naive Bayes over hashed n-grams as a torch module, and its blend with a network.

Counting knows what a network forgets: n-grams that it saw a few times only. The two err differently, so that a blend
beats both where data are few (numbers in training/recipes/sentiment_en.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.models.ngrams import PADDING_ID, ngram_buckets

Batches = Iterable[tuple[Tensor, Tensor]]
"""Token ids int64 [N, T] and classes int64 [N]."""
Track = Callable[[Sequence[float]], Iterable[float]]
REFINEMENT_PENALTIES = (25.0, 5.0, 1.0)
"""On the sum of squared weights, against the log loss summed over the texts; many n-grams want a high one."""
_PENALTY = 1e-3  # keeps the weights finite where a small held-out part is answered without a mistake


class _Bags(NamedTuple):
    """Sets of rows of a table, one after the other."""

    rows: Tensor
    offsets: Tensor
    """Where each set begins."""


class HashedNaiveBayes(nn.Module):
    """Token ids int64 [N, T] -> evidence for each class float32 [N, classes]: log-likelihoods, priors left out.

    Multinomial over the n-grams that a text contains, each counted once, with add-one smoothing: what
    `training.evaluation.naive_bayes.NaiveBayes` computes, but for n-grams that share a bucket. The log-likelihoods of
    an n-gram are centred over the classes, so that one that no class prefers, or that nobody has seen, adds nothing.

    Args:
        orders: lengths n of the n-grams.
        buckets: rows of the table of each length.
        classes: number of classes.
        spell: from token ids to the ids that n-grams are of, int64 [N, S] with padding behind; default: the tokens.
    """

    def __init__(self, orders: Sequence[int], buckets: int, classes: int, *, spell: nn.Module | None = None) -> None:
        super().__init__()
        self.orders = tuple(orders)
        self.buckets = buckets
        self.spell = spell or nn.Identity()
        # Of all classes but the last: what is centred sums to zero, and the file has a column less.
        self.register_buffer("evidence_OBF", torch.zeros(len(self.orders), buckets, classes - 1))
        self.evidence_OBF: Tensor

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Sum the evidence of all n-grams of each row; padding adds nothing."""
        total_NF = torch.zeros(1, self.evidence_OBF.shape[2])
        for index, (rows_NS, counted_NS) in enumerate(self._grams(ids_NT)):
            total_NF = total_NF + (self.evidence_OBF[index][rows_NS] * counted_NS.unsqueeze(2)).sum(1)
        return _with_last_class(total_NF)

    def fit(self, batches: Batches) -> None:
        """Count the n-grams of a training part."""
        orders, buckets, free = self.evidence_OBF.shape
        counts_OBC = torch.zeros(orders, buckets, free + 1, dtype=torch.float64)
        for ids_NT, classes_N in batches:
            for index, (rows_NS, counted_NS) in enumerate(self._grams(ids_NT)):
                where = rows_NS[counted_NS], classes_N.unsqueeze(1).expand_as(rows_NS)[counted_NS]
                counts_OBC[index].index_put_(where, torch.ones(1, dtype=torch.float64), accumulate=True)
        seen_OB1 = counts_OBC.sum(2, keepdim=True) > 0
        smooth_OBC = counts_OBC + 1
        evidence_OBC = (smooth_OBC / (smooth_OBC * seen_OB1).sum((0, 1))).log()
        self.evidence_OBF.copy_(((evidence_OBC - evidence_OBC.mean(2, keepdim=True)) * seen_OB1)[:, :, :-1])

    def refine(self, batches: Batches, held_out: Batches, *, track: Track = iter) -> float:
        """Weigh each n-gram by logistic regression on the training part that it was counted on.

        The NB-SVM of Wang and Manning (see `training.evaluation.naive_bayes`), with logistic loss: naive Bayes counts
        n-grams that always come together twice, this does not.

        Args:
            batches: of the training part.
            held_out: choose the penalty.
            track: shows how far the penalties are, each of which takes minutes where texts are many.

        Returns:
            The penalty, one of `REFINEMENT_PENALTIES`.
        """
        features, classes_N = self._sparse(batches)
        evidence_RF = self.evidence_OBF.flatten(0, 1).clone()
        weights_R1 = torch.zeros(len(evidence_RF), 1, requires_grad=True)
        refined = dict[float, tuple[float, Tensor]]()
        for penalty in track(REFINEMENT_PENALTIES):  # from the strongest on, each begins where the one before ended

            def loss(share: float = penalty / len(classes_N)) -> Tensor:
                sums_NF = nn.functional.embedding_bag(
                    features.rows, evidence_RF * weights_R1, features.offsets, mode="sum"
                )
                log_loss = nn.functional.cross_entropy(_with_last_class(sums_NF), classes_N)
                return log_loss + share * weights_R1.square().sum()

            _minimise(loss, weights_R1)
            self.evidence_OBF.copy_((evidence_RF * weights_R1.detach()).view_as(self.evidence_OBF))
            refined[penalty] = self._log_loss(held_out), self.evidence_OBF.clone()
        best = min(refined, key=lambda penalty: refined[penalty][0])
        self.evidence_OBF.copy_(refined[best][1])
        return best

    def _log_loss(self, batches: Batches) -> float:
        answers = [(self(ids_NT), classes_N) for ids_NT, classes_N in batches]
        logits_NC, classes_N = (torch.cat(part) for part in zip(*answers, strict=True))
        return float(nn.functional.cross_entropy(logits_NC, classes_N))

    def _sparse(self, batches: Batches) -> tuple[_Bags, Tensor]:
        """The n-grams of all texts as row numbers of one table, and the classes of the texts."""
        rows: list[Tensor] = []
        classes: list[Tensor] = []
        for ids_NT, classes_N in batches:
            grams = self._grams(ids_NT)
            rows_NL = torch.cat([rows_NS + index * self.buckets for index, (rows_NS, _) in enumerate(grams)], dim=1)
            counted_NL = torch.cat([counted_NS for _, counted_NS in grams], dim=1)
            rows += [text[counted] for text, counted in zip(rows_NL, counted_NL, strict=True)]
            classes.append(classes_N)
        lengths = torch.tensor([0, *(len(text) for text in rows[:-1])])
        return _Bags(torch.cat(rows), lengths.cumsum(0)), torch.cat(classes)

    def _grams(self, ids_NT: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each order, the buckets of a text's n-grams, sorted, and which of them are to be counted."""
        ids_NS = self.spell(ids_NT)
        steps = torch.arange(ids_NS.shape[1])
        buckets = ngram_buckets(ids_NS, max(self.orders), self.buckets)
        grams = []
        for order in self.orders:
            whole_NS = (ids_NS != PADDING_ID) & (steps >= order - 1)
            # What is no n-gram gets a bucket that there is not, behind all others.
            rows_NS = torch.where(whole_NS, buckets[order - 1], self.buckets).sort(1).values
            first_NS = rows_NS != nn.functional.pad(rows_NS[:, :-1], (1, 0), value=-1)
            counted_NS = first_NS & (rows_NS < self.buckets)
            grams.append((rows_NS * counted_NS, counted_NS))
        return grams


def _with_last_class(evidence_NF: Tensor) -> Tensor:
    """[N, classes] from that of all classes but the last, where the sum over the classes is zero."""
    return torch.cat([evidence_NF, -evidence_NF.sum(1, keepdim=True)], dim=1)


class Blend(nn.Module):
    """Weighted sum of a network's logits and of naive Bayes' evidence; both read the same ids.

    Args:
        network: ids -> logits [N, classes].
        naive_bayes: fitted, ids -> evidence [N, classes].
    """

    def __init__(self, network: nn.Module, naive_bayes: HashedNaiveBayes) -> None:
        super().__init__()
        self.network = network
        self.naive_bayes = naive_bayes
        self.register_buffer("weights", torch.tensor([1.0, 0.0]))
        self.weights: Tensor

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.weights[0] * self.network(ids_NT) + self.weights[1] * self.naive_bayes(ids_NT)
        return logits

    @torch.no_grad()
    def fit_weights(self, batches: Batches) -> None:
        """Choose the weights that minimise the log loss on held-out batches; they calibrate the answers, too."""
        parts = [(self.network(ids), self.naive_bayes(ids), classes) for ids, classes in batches]
        logits, evidence, classes = (torch.cat(part) for part in zip(*parts, strict=True))
        self.weights.copy_(_minimise_log_loss(torch.stack([logits, evidence]), classes))


def _minimise_log_loss(parts_2NC: Tensor, classes_N: Tensor) -> Tensor:
    """Two weights, not negative."""
    roots = torch.tensor([1.0, 0.3], requires_grad=True)  # their squares are the weights

    def loss() -> Tensor:
        weights = roots.square()
        logits_NC = torch.einsum("p,pnc->nc", weights, parts_2NC)
        return nn.functional.cross_entropy(logits_NC, classes_N) + _PENALTY * weights.square().sum()

    _minimise(loss, roots)
    weights: Tensor = roots.detach().square()
    return weights


@torch.enable_grad()
def _minimise(loss: Callable[[], Tensor], parameter: Tensor) -> None:
    optimizer = torch.optim.LBFGS([parameter], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return float(value.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
