"""R-Drop: networks learn to answer alike under different dropout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from training.data.order import ShuffledOrder
from training.fit import fit
from training.fit.rdrop import RDropLoss, see_twice
from training.settings import FitSettings


def test_the_loss_adds_the_mean_divergence_in_both_directions_in_training_only() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3), torch.tensor([0, 2, 1])
    first, second = (torch.distributions.Categorical(logits=half) for half in logits.chunk(2))
    there, back = (torch.distributions.kl_divergence(*pair).mean() for pair in ((first, second), (second, first)))
    loss = RDropLoss(nn.CrossEntropyLoss(), 0.7)
    plain = nn.functional.cross_entropy(logits, target.repeat(2))
    assert float(loss(logits, target.repeat(2))) == pytest.approx(float(plain + 0.7 * (there + back) / 2))
    assert float(loss.eval()(logits, target.repeat(2))) == pytest.approx(float(plain))


def trained(folder: Path, weight: float, dropout: float) -> nn.Module:
    """Which half of the line a number lies in, with labels of which a fifth is wrong."""
    torch.manual_seed(0)
    inputs = torch.linspace(-1, 1, 200)[:, None]
    wrong = torch.rand(200) < 0.2
    data = TensorDataset(inputs, ((inputs[:, 0] > 0) ^ wrong).long())
    model = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 2))
    fit(
        model.train(),
        DataLoader(data, 20, sampler=ShuffledOrder(200, 0)),
        DataLoader(data, 200),
        FitSettings(device="cpu", epochs=15, patience=15, learning_rate=0.02),
        loss=RDropLoss(nn.CrossEntropyLoss(), weight),
        prepare=see_twice,
        metric=MulticlassAccuracy(2, average="micro"),
        run_folder=folder,
        console=Console(quiet=True),
    )
    return model


def spread(model: nn.Module) -> float:
    """How much the answers differ from pass to pass under dropout."""
    torch.manual_seed(1)
    inputs = torch.linspace(-1, 1, 200)[:, None]

    def answer() -> Tensor:
        probabilities: Tensor = model.train()(inputs).softmax(1)
        return probabilities

    with torch.no_grad():
        return float(torch.stack([answer() for _ in range(50)]).std(0).mean())


def test_networks_answer_more_alike_under_dropout(tmp_path: Path) -> None:
    plain, consistent = (trained(tmp_path / str(weight), weight, dropout=0.5) for weight in (0.0, 5.0))
    assert spread(consistent) < 0.6 * spread(plain)


def test_without_dropout_it_changes_nothing(tmp_path: Path) -> None:
    plain, consistent = (trained(tmp_path / str(weight), weight, dropout=0.0) for weight in (0.0, 5.0))
    for one, other in zip(plain.parameters(), consistent.parameters(), strict=True):
        torch.testing.assert_close(one, other)
