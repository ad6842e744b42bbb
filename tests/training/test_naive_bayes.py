"""Naive Bayes as a baseline and as a part of a graph: two implementations that must agree."""

from __future__ import annotations

import random

import torch

from training.data.texts.batches import TokenDataset, evaluation_batches
from training.data.texts.tokens import learn_tokenizer, split_texts
from training.evaluation.naive_bayes import NaiveBayes
from training.models.naive_bayes import REFINEMENT_PENALTIES, Blend, HashedNaiveBayes

TEXTS = ["good good film", "a good one", "bad film", "not good , bad", "so so", "bad bad bad film !"]
CLASSES = [1, 1, 0, 0, 1, 0]
UNSEEN = ["good film", "a bad one", "a bad film", "not bad !", "so so good", "so bad a film"]


def batches(texts: list[str]) -> TokenDataset:
    tokenizer = learn_tokenizer(TEXTS, "words", max_tokens=20, max_vocabulary=100, min_count=1)
    return TokenDataset(tokenizer.encode(texts), CLASSES)


def test_the_counted_baseline_by_hand() -> None:
    model = NaiveBayes((1,), 2)
    model.fit([["a", "b", "b"], ["a"], ["c"]], [0, 0, 1])
    # Counts + 1 of a, b, c: class 0 (3, 2, 1) of 6; class 1 (1, 1, 2) of 4. Priors 2/3 and 1/3.
    # c: 2/3 * 1/6 against 1/3 * 2/4; b c: 2/3 * 2/6 * 1/6 against 1/3 * 1/4 * 2/4.
    assert model.predict([["a"], ["c"], ["b", "c"], ["unknown"]]).tolist() == [0, 1, 1, 0]


def test_hashed_evidence_agrees_with_the_counted_baseline() -> None:
    counted, hashed = NaiveBayes((1, 2), 2), HashedNaiveBayes((1, 2), 2**16, 2)
    counted.fit(split_texts(TEXTS, "words"), CLASSES)
    hashed.fit(evaluation_batches(batches(TEXTS), 4))
    ids, _ = next(iter(evaluation_batches(batches(UNSEEN), len(UNSEEN))))
    assert hashed(ids).argmax(1).tolist() == counted.predict(split_texts(UNSEEN, "words")).tolist()


def test_a_blend_weighs_what_helps() -> None:
    class Silent(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(ids), 2)

    naive_bayes = HashedNaiveBayes((1, 2), 2**10, 2)
    naive_bayes.fit(evaluation_batches(batches(TEXTS), 4))
    blend = Blend(Silent(), naive_bayes)
    blend.fit_weights(evaluation_batches(batches(TEXTS), 4))
    network, evidence = blend.weights.tolist()
    assert network < evidence
    assert 0 < evidence < 20


def test_refined_evidence_counts_once_what_always_comes_together() -> None:
    tokenizer = learn_tokenizer(["a b c d", "e"], "words", max_tokens=20, max_vocabulary=100, min_count=1)
    texts = [("a b c d", "e")[index % 2] for index in range(200)]
    classes = [index % 2 ^ (index // 2 % 10 >= 7) for index in range(200)]  # right for 70 % of the texts of each kind
    data = list(evaluation_batches(TokenDataset(tokenizer.encode(texts), classes), 50))
    naive_bayes = HashedNaiveBayes((1, 2), 2**10, 2)
    losses = []
    for improve in (naive_bayes.fit, lambda batches: naive_bayes.refine(batches, batches)):
        improve(data)
        answers = [(naive_bayes(ids), right) for ids, right in data]
        losses.append(sum(float(torch.nn.functional.cross_entropy(*answer)) for answer in answers) / len(answers))
    assert losses[1] < losses[0]


def test_the_penalty_is_the_one_that_suits_held_out_texts() -> None:
    rng = random.Random(0)

    def sample(count: int) -> TokenDataset:
        """A word that is right in three of four texts, among many that mean nothing."""
        classes = [rng.randrange(2) for _ in range(count)]
        noise = [" ".join(f"n{rng.randrange(400)}" for _ in range(12)) for _ in range(count)]
        texts = [f"{'bg'[right ^ (rng.random() < 0.25)]} {words}" for right, words in zip(classes, noise, strict=True)]
        return TokenDataset(tokenizer.encode(texts), classes)

    words = ["b", "g", *(f"n{number}" for number in range(400))]
    tokenizer = learn_tokenizer([" ".join(words)], "words", max_tokens=20, max_vocabulary=500, min_count=1)
    train, held_out = (list(evaluation_batches(sample(count), 100)) for count in (300, 2000))
    naive_bayes = HashedNaiveBayes((1, 2), 2**12, 2)
    naive_bayes.fit(train)
    counted = naive_bayes.evidence_OBF.clone()
    suits_others = naive_bayes.refine(train, held_out)
    naive_bayes.evidence_OBF.copy_(counted)
    suits_itself = naive_bayes.refine(train, train)
    assert suits_itself == min(REFINEMENT_PENALTIES) < suits_others, "most of the words mean nothing"
