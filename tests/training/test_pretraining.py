"""Learning to guess hidden tokens, before labels are looked at."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.conftest import Result
from training.data.texts.batches import TokenDataset
from training.data.texts.masking import mask_tokens, masked_batches


@pytest.mark.parametrize("seed", range(20))
def test_hidden_tokens_are_what_is_asked_for(seed: int) -> None:
    torch.manual_seed(seed)
    lengths = torch.randint(0, 12, (8, 1))
    ids = torch.randint(1, 9, (8, 11)) * (torch.arange(11) < lengths)
    (shown, hidden), asked = mask_tokens(ids, torch.zeros(8))
    assert hidden.any()
    assert torch.equal(asked, ids[hidden])
    assert (shown[hidden] == 1).all()
    assert torch.equal(shown[~hidden], ids[~hidden])
    if hidden.sum() > 1:
        assert (asked > 1).all(), "padding and unknown tokens are not asked for"


def test_a_sixth_is_hidden_in_spans_of_three_at_most() -> None:
    torch.manual_seed(0)
    _, hidden = mask_tokens(torch.full((400, 100), 5), torch.zeros(400))[0]
    assert float(hidden.float().mean()) == pytest.approx(0.16, abs=0.01)
    alone = hidden[:, 1:-1] & ~hidden[:, :-2] & ~hidden[:, 2:]
    assert float(alone.sum() / hidden.sum()) == pytest.approx(0.15, abs=0.05)


def test_the_validation_part_is_asked_the_same_each_time() -> None:
    rows = [torch.arange(2, 30).numpy() for _ in range(5)]
    loader = masked_batches(TokenDataset(rows, [0] * 5), 2)
    for (first, asked), (second, again) in zip(loader, loader, strict=True):
        assert torch.equal(first[1], second[1])
        assert torch.equal(asked, again)


def test_guessing_is_learnt_and_what_was_learnt_is_used(menagerie_train: Callable[..., Result], tmp_path: Path) -> None:
    """In a language of which each word follows from its neighbours, a tenth of the labels is there."""
    path = tmp_path / "texts.tsv"
    words = [f"w{number}" for number in range(12)]
    rows = [
        " ".join(words[(start + place) % 12] for place in range(10)) + f"\t{start % 2}"
        for start in range(12)
        for _ in range(20)
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    result = menagerie_train(
        *("text", path, "--output", tmp_path / "zoo", "--runs", tmp_path / "runs", "--name", "w", "--epochs", 1),
        *("--pretrain-epochs", 6, "--batch-size", 8, "--learning-rate", 0.01, "--embedding-size", 16),
        *("--hidden-size", 16, "--no-baselines"),
    )
    assert result.exit_code == 0, result.stderr
    assert "guessing hidden tokens for 6 epochs" in result.stderr
    (metrics,) = (tmp_path / "runs").glob("w/*/pretraining/metrics.csv")
    scores = [float(row["score"]) for row in csv.DictReader(metrics.read_text(encoding="utf-8").splitlines())]
    assert min(scores) < 0.5 * math.log(12), "half as surprised as who knows nothing"


def test_one_hot_tokens_have_nothing_to_learn(menagerie_train: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text("good\t1\nbad\t0\n" * 20, encoding="utf-8")
    result = menagerie_train(
        *("text", path, "--output", tmp_path, "--name", "w", "--encoding", "one_hot", "--pretrain-epochs", 1)
    )
    assert result.exit_code == 2
    assert "pretrain_epochs teaches the vectors of tokens; use it with encoding embedding" in result.stderr
