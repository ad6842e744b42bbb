"""The training loop: the best epoch is kept, and a loss that explodes is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from training.errors import FitError
from training.fit import FitResult, fit, make_run_folder, parameter_groups
from training.settings import FitSettings


def run(tmp_path: Path, model: nn.Module, **settings: object) -> FitResult:
    """Learn which half of the line a number lies in."""
    inputs = torch.linspace(-1, 1, 64)[:, None]
    data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    return fit(
        model.train(),
        DataLoader(data, 16, shuffle=True),
        DataLoader(data, 64),
        FitSettings.model_validate({"device": "cpu", **settings}),
        loss=nn.functional.cross_entropy,
        metric=MulticlassAccuracy(2, average="micro"),
        run_folder=tmp_path,
        console=Console(quiet=True),
    )


def test_the_model_has_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(1, 2)
    result = run(tmp_path, model, epochs=30, learning_rate=0.2, patience=5)
    scores = [row["score"] for row in result.history]
    assert result.best_score == max(scores) >= 0.95
    assert result.best_epoch == scores.index(max(scores)) + 1
    assert result.epochs == len(scores) <= result.best_epoch + 5
    assert not model.training
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(saved["model.weight"], model.weight)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == result.epochs + 1


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    models = []
    for number in range(2):
        torch.manual_seed(3)
        models.append(nn.Linear(1, 2))
        run(tmp_path / str(number), models[-1], epochs=2)
    assert torch.equal(models[0].weight, models[1].weight)


def test_a_loss_that_is_not_finite_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    class Explodes(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * float("inf")

    with pytest.raises(FitError, match=r"not finite after epoch 1; lower learning_rate \(0.001\) or set clip_norm"):
        run(tmp_path, Explodes(1, 2))


def test_biases_and_norms_are_not_decayed_and_frozen_weights_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[2].weight.requires_grad_(False)
    decayed, free = parameter_groups(model.parameters(), FitSettings(learning_rate=0.1), rate_factor=0.5)
    assert [len(decayed["params"]), len(free["params"])] == [1, 4]
    assert (decayed["weight_decay"], free["weight_decay"]) == (1e-4, 0.0)
    assert decayed["lr"] == free["lr"] == 0.05


def test_two_runs_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    assert make_run_folder(tmp_path, "x") != make_run_folder(tmp_path, "x")
