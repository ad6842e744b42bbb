"""The training loop: the best epoch is kept, and a loss that explodes is an error."""

from __future__ import annotations

import itertools
import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from training.data.order import ShuffledOrder
from training.errors import FitError, SettingsError
from training.fit import FitResult, fit, parameter_groups
from training.fit.averaging import Averaging
from training.fit.rates import rates_of_test, steepest_rate, with_rate
from training.pipelines.origin import weights_file
from training.runs.run import make_run_folder
from training.settings import FitSettings


def run(
    tmp_path: Path,
    model: nn.Module,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    resume: bool = False,
    workers: int = 0,
    after_epoch: Callable[..., None] | None = None,
    **settings: object,
) -> FitResult:
    """Learn which half of the line a number lies in."""
    inputs = torch.linspace(-1, 1, 64)[:, None]
    data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    chosen = FitSettings.model_validate({"device": "cpu", **settings})
    return fit(
        model.train(),
        DataLoader(data, 16, sampler=ShuffledOrder(64, chosen.seed), num_workers=workers),
        DataLoader(data, 64),
        chosen,
        loss=loss,
        metric=MulticlassAccuracy(2, average="micro"),
        run_folder=tmp_path,
        resume=resume,
        after_epoch=after_epoch,
        console=Console(quiet=True),
    )


def network_with_dropout() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))


def stopped_at(step: int, how: Callable[[], None]) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss during whose `step`-th computation something happens."""
    count = itertools.count(1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if next(count) == step:
            how()
        return nn.functional.cross_entropy(output, target)

    return loss


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


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
    assert torch.equal(saved["weight"], model.weight)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == result.epochs + 1


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    models = []
    for number in range(2):
        torch.manual_seed(3)
        models.append(nn.Linear(1, 2))
        run(tmp_path / str(number), models[-1], epochs=2)
    assert torch.equal(models[0].weight, models[1].weight)


STEPS_PER_EPOCH = 5  # 4 of training, 1 of validation


def crash() -> None:
    raise RuntimeError("the machine went down")


@pytest.mark.parametrize("averaging", ["none", "ema", "swa"])
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", [crash, lambda: signal.raise_signal(signal.SIGINT)], ids=["crash", "ctrl-c"])
def test_a_resumed_training_gives_the_weights_of_one_that_never_stopped(
    tmp_path: Path, how: Callable[[], None], workers: int, averaging: str
) -> None:
    whole, parts = network_with_dropout(), network_with_dropout()
    settings = {"epochs": 6, "patience": 6, "learning_rate": 0.05, "averaging": averaging}
    expected = run(tmp_path / "whole", whole, **settings)
    try:
        first = run(tmp_path / "parts", parts, loss=stopped_at(2 * STEPS_PER_EPOCH + 2, how), **settings)
        assert first.interrupted
        assert first.epochs == 3
    except RuntimeError as exc:
        assert str(exc) == "the machine went down"
    again = network_with_dropout()
    resumed = run(tmp_path / "parts", again, resume=True, workers=workers, **settings)
    assert same_weights(whole, again)
    assert [row["score"] for row in resumed.history] == [row["score"] for row in expected.history]
    assert (tmp_path / "parts" / "metrics.csv").read_text().count("\n") == 7
    finished = network_with_dropout()
    assert run(tmp_path / "parts", finished, resume=True, **settings).history == resumed.history
    assert same_weights(whole, finished)


def test_weights_of_an_epoch_that_was_cut_short_are_not_those_of_a_later_training(tmp_path: Path) -> None:
    settings = {"epochs": 6, "patience": 6, "learning_rate": 0.05}
    ctrl_c = stopped_at(STEPS_PER_EPOCH + 3, lambda: signal.raise_signal(signal.SIGINT))
    first = run(tmp_path, network_with_dropout(), loss=ctrl_c, **settings)
    assert first.best_epoch == first.epochs == 2  # in the middle of which Ctrl-C came
    assert weights_file(tmp_path).name == "cut-short.ckpt"
    with pytest.raises(RuntimeError, match="went down"):
        run(tmp_path, network_with_dropout(), loss=stopped_at(STEPS_PER_EPOCH + 3, crash), resume=True, **settings)
    assert weights_file(tmp_path).name == "best.ckpt"


def test_the_number_of_workers_does_not_change_the_weights(tmp_path: Path) -> None:
    models = [network_with_dropout(), network_with_dropout()]
    for workers, model in enumerate(models):
        run(tmp_path / str(workers), model, workers=workers, epochs=2)
    assert same_weights(*models)


def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path) -> None:
    settings = {"epochs": 4, "patience": 4, "learning_rate": 0.05}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill = stopped_at(STEPS_PER_EPOCH + 1, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1])))
    try:
        with pytest.raises(FitError, match=r"ckpt cannot be written .*File too large.*go on with --resume"):
            run(tmp_path, network_with_dropout(), loss=fill, **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*.partial"))
    whole, again = network_with_dropout(), network_with_dropout()
    run(tmp_path / "whole", whole, **settings)
    assert run(tmp_path, again, resume=True, **settings).epochs == 4
    assert same_weights(whole, again)


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


def test_biases_decay_where_that_is_wanted() -> None:
    groups = parameter_groups(nn.Linear(4, 4).parameters(), FitSettings(weight_decay=0.1, decay_all=True))
    assert [group["weight_decay"] for group in groups] == [0.1, 0.1]


def test_l1_makes_weights_small(tmp_path: Path) -> None:
    sizes = {}
    for l1 in (0.0, 0.05):
        model = network_with_dropout()
        run(tmp_path / str(l1), model, epochs=5, patience=5, learning_rate=0.05, l1=l1, weight_decay=0.0)
        sizes[l1] = sum(float(p.detach().abs().sum()) for p in model.parameters() if p.ndim > 1)
    assert sizes[0.05] < 0.8 * sizes[0.0]


def test_averaged_weights_are_measured_and_kept(tmp_path: Path) -> None:
    plain, averaged = network_with_dropout(), network_with_dropout()
    run(tmp_path / "plain", plain, epochs=1, learning_rate=0.05)
    result = run(tmp_path / "ema", averaged, epochs=1, learning_rate=0.05, averaging="ema", ema_decay=0.5)
    assert not same_weights(plain, averaged)
    start = network_with_dropout()
    states = zip(start.state_dict().values(), averaged.state_dict().values(), plain.state_dict().values(), strict=True)
    for before, mean, after in states:
        assert float((mean - after).abs().max()) <= float((before - after).abs().max())
    inputs = torch.linspace(-1, 1, 64)[:, None]
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(averaged(inputs), (inputs[:, 0] > 0).long()))
    assert result.history[0]["validation_loss"] == pytest.approx(loss)


def test_two_runs_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    assert make_run_folder(tmp_path, "x") != make_run_folder(tmp_path, "x")


def test_what_is_told_the_epochs_may_end_the_training(tmp_path: Path) -> None:
    told: list[list[float]] = []

    def listen(history: list[dict[str, float]]) -> None:
        told.append([row["epoch"] for row in history])
        if len(history) == 2:
            raise LookupError

    with pytest.raises(LookupError):
        run(tmp_path, nn.Linear(1, 2), epochs=5, after_epoch=listen)
    assert told == [[1], [1, 2]]


def test_the_rate_that_is_found_takes_the_place_of_the_given_one(tmp_path: Path) -> None:
    found, told = network_with_dropout(), network_with_dropout()
    run(tmp_path / "found", found, epochs=2, find_rate=True, learning_rate=1e-7)
    test = json.loads((tmp_path / "found" / "rates.json").read_text())
    assert 1e-5 < test["found"] < 1
    assert len(test["rates"]) == len(test["losses"]) > 50
    run(tmp_path / "told", told, epochs=2, learning_rate=test["found"])
    assert same_weights(found, told)  # the test itself leaves nothing behind

    def stop(history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            raise LookupError

    settings = {"epochs": 2, "find_rate": True, "learning_rate": 1e-7}
    with pytest.raises(LookupError):
        run(tmp_path / "parts", network_with_dropout(), after_epoch=stop, **settings)
    resumed = network_with_dropout()
    run(tmp_path / "parts", resumed, resume=True, **settings)
    assert same_weights(found, resumed)
    assert (tmp_path / "found" / "rates.png").stat().st_size > 1000


def test_the_rate_is_found_where_the_loss_falls_fastest() -> None:
    rates = rates_of_test()
    place = np.log10(rates)
    falling = 1 / (1 + np.exp(4 * (place + 3))) + 10 ** (2 * place)
    assert steepest_rate(falling.tolist()) == pytest.approx(1e-3, rel=0.2)
    assert steepest_rate(np.linspace(1, 2, 100).tolist()) is None
    assert steepest_rate([float("nan")]) is None


def test_a_test_that_explodes_ends_and_groups_keep_their_ratios(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.fill_(1.0)

    def explosive(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target) + (model[0].weight - 1).square().sum() * 1e4

    history = run(tmp_path, model, loss=explosive, epochs=1, find_rate=True).history
    assert len(json.loads((tmp_path / "rates.json").read_text())["losses"]) < 100
    assert history
    slow, fast = {"lr": 1e-4, "params": []}, {"lr": 1e-3, "params": []}
    assert [group["lr"] for group in with_rate([slow, fast], 20)] == [2e-3, 2e-2]


def test_the_exponential_average_forgets_the_first_weights_sooner() -> None:
    model = nn.Linear(1, 1)
    average = Averaging(model, FitSettings(averaging="ema", ema_decay=0.999))
    for value in (0.0, *[1.0] * 60):
        nn.init.constant_(model.weight, value)
        average.after_step(model)
    averaged = average.model(model)
    assert isinstance(averaged, nn.Linear)
    assert float(averaged.weight) > 0.99  # with a decay of 0.999 from the start it would be 0.06


def test_several_processes_do_not_test_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="find_rate works in one process; find the rate in one"):
        run(tmp_path, nn.Linear(1, 2), find_rate=True)
