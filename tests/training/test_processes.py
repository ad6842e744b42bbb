"""Training by several processes: it gives what one gives, the first one writes; what cannot be shared is refused."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from training.data.order import ShuffledOrder, set_epoch
from training.data.sharing import share_evaluation, share_training
from training.errors import SettingsError
from training.fit import FitResult, fit
from training.settings import FitSettings

Train = Callable[..., Result]
ROOT = Path(__file__).parents[2]
CRASHED = 3
ITEMS, BATCH = 61, 8  # the last batch has 5 items, 3 for one process and 2 for the other


def batches(size: int = BATCH) -> DataLoader[tuple[torch.Tensor, ...]]:
    numbers = torch.linspace(-1, 1, ITEMS)[:, None]
    data = TensorDataset(numbers, (numbers[:, 0] > 0.2).long())
    return DataLoader(data, size, sampler=ShuffledOrder(ITEMS, 0))


def train(folder: Path, *, end: str = "", resume: bool = False) -> tuple[nn.Module, FitResult]:
    steps = itertools.count(1)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if next(steps) == 14:  # in the second epoch
            if end == "crash":
                os._exit(CRASHED)
            if end == "ctrl-c" and os.environ["RANK"] == "1":
                signal.raise_signal(signal.SIGINT)
        return nn.functional.cross_entropy(output, target)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 2)).train()
    result = fit(
        model,
        batches(),
        DataLoader(batches().dataset, 32),
        FitSettings(epochs=3, learning_rate=0.05, device="cpu", clip_norm=1.0, l1=1e-3),
        loss=loss,
        metric=MulticlassAccuracy(2, average="micro"),
        run_folder=folder,
        resume=resume,
        console=Console(quiet=True),
    )
    return model, result


def take_part(rank: int, port: int, folders: tuple[Path, Path], kept: Path, how: dict[str, Any]) -> None:
    """What one of two processes does that torchrun starts."""
    here = {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
    group = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in (here | group).items()})
    model, result = train(folders[rank], **how)
    torch.save(
        {"weights": model.state_dict(), "history": list(result.history), "interrupted": result.interrupted},
        kept / f"{rank}.pt",
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def train_together(folders: tuple[Path, Path], kept: Path, **how: Any) -> list[int | None]:
    """Train in two processes, and give their exit codes."""
    # Forked from a process that has torch, but has not trained: torch's threads do not survive a fork.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    port = free_port()
    processes = [context.Process(target=take_part, args=(rank, port, folders, kept, how)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    folders = (tmp_path / "0", tmp_path / "1")  # to see who writes
    assert train_together(folders, tmp_path) == [0, 0]
    alone, result = train(tmp_path / "alone")
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, weight in alone.state_dict().items():
        assert torch.equal(both[0]["weights"][name], both[1]["weights"][name])
        torch.testing.assert_close(both[0]["weights"][name], weight, rtol=1e-4, atol=1e-5)
    for mine, other in zip(result.history, both[1]["history"], strict=True):
        for name in ("train_loss", "validation_loss", "score"):
            assert other[name] == pytest.approx(mine[name], abs=1e-5)
    written = {entry.name for entry in (tmp_path / "0").iterdir()}
    assert written == {"best.ckpt", "last.ckpt", "metrics.csv", "result.json", "tensorboard"}
    assert not list((tmp_path / "1").rglob("*.*"))


def test_a_training_that_was_ended_goes_on_with_the_same_weights(tmp_path: Path) -> None:
    whole = (tmp_path / "whole" / "run",) * 2
    for name in ("whole", "crash", "ctrl-c"):
        (tmp_path / name).mkdir()
    assert train_together(whole, tmp_path / "whole") == [0, 0]
    expected = torch.load(tmp_path / "whole" / "1.pt", weights_only=True)
    assert not expected["interrupted"]
    for end in ("crash", "ctrl-c"):
        parts, kept = (tmp_path / end / "run",) * 2, tmp_path / end
        codes = train_together(parts, kept, end=end)
        if end == "crash":
            assert CRASHED in codes
        else:  # which reached one of them only
            assert codes == [0, 0]
            both = [torch.load(kept / f"{rank}.pt", weights_only=True) for rank in range(2)]
            assert [(len(one["history"]), one["interrupted"]) for one in both] == [(2, True)] * 2
            assert not (parts[0] / "result.json").exists()
        assert (parts[0] / "last.ckpt").is_file()
        assert train_together(parts, kept, resume=True) == [0, 0]
        got = torch.load(kept / "1.pt", weights_only=True)
        for name, weight in expected["weights"].items():
            assert torch.equal(got["weights"][name], weight)
        assert len(got["history"]) == len(expected["history"])


def test_each_item_of_a_batch_goes_to_one_process() -> None:
    whole, parts = batches(), [share_training(batches(), rank, 3) for rank in range(3)]
    for loader in (whole, *parts):
        set_epoch(loader, 4)
    assert whole.batch_sampler is not None
    expected = [sorted(batch) for batch in whole.batch_sampler]
    assert len(expected[-1]) == 5  # less than two for each
    shared = [list(part.batch_sampler or []) for part in parts]
    assert [sorted(itertools.chain(*shares)) for shares in zip(*shared, strict=True)] == expected[:-1]
    assert [len(part) for part in parts] == [len(expected) - 1] * 3
    measured = [
        float(number) for rank in range(3) for (numbers, _) in share_evaluation(whole, rank, 3) for number in numbers
    ]
    assert sorted(measured) == pytest.approx(torch.linspace(-1, 1, ITEMS).tolist())


def test_too_little_for_so_many_processes_is_told() -> None:
    with pytest.raises(SettingsError, match="batches of 3 items are too small for 2 processes; raise batch_size to 4"):
        share_training(batches(3), 0, 2)
    with pytest.raises(SettingsError, match="the validation part has 61 item"):
        share_evaluation(batches(), 0, 62)


@pytest.fixture
def first_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")


@pytest.mark.usefixtures("first_of_two")
def test_what_cannot_be_shared_is_refused(menagerie_train: Train, tmp_path: Path) -> None:
    where = ("--output", tmp_path / "zoo", "--name", "x")
    result = menagerie_train("compare", tmp_path, *where)
    assert result.exit_code == 2
    assert "this command runs in one process; under torchrun, image, text and series train together" in result.stderr
    result = menagerie_train("series", tmp_path / "x.csv", "--target", "a", "--horizon", 2, "--stateful", *where)
    assert result.exit_code == 2
    assert "stateful reads its streams in order, in one process; start it without torchrun" in result.stderr


TOGETHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def start_training(folder: Path, name: str, *start: str, epochs: int) -> subprocess.Popen[str]:
    pictures = write_pictures(folder / "pictures", 15)
    network = ("--backbone", "small_cnn_plain", "--mode", "scratch", "--weights", "none", "--image-size", "32")
    plain = ("--augment", "none", "--dropout", "0", "--workers", "0", "--epochs", str(epochs), "--batch-size", "7")
    command = ("-m", "training", "image", str(pictures), *network, *plain, "--output", "zoo", "--name", name)
    return subprocess.Popen(
        [sys.executable, *start, *command],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_torchrun_publishes_one_model(tmp_path: Path) -> None:
    for start, name in (((), "one"), (TOGETHER, "two")):
        ran = start_training(tmp_path, name, *start, epochs=2)
        stdout, stderr = ran.communicate(timeout=300)
        assert ran.returncode == 0, stderr
        assert stdout.count("published") == 1
        assert stderr.count("epoch   2/2") == 1
        assert "Warning" not in stderr
    one, two = (
        torch.load(next((tmp_path / "runs" / name).glob("*/best.ckpt")), weights_only=True)["state_dict"]
        for name in ("one", "two")
    )
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-4)
    assert sorted(entry.name for entry in (tmp_path / "zoo").iterdir()) == ["one", "two"]
    assert [entry.name for entry in (tmp_path / "zoo" / "two").iterdir()] == ["1"]


@pytest.mark.slow
def test_ctrl_c_under_torchrun_publishes_the_best_so_far(tmp_path: Path) -> None:
    ran = start_training(tmp_path, "two", *TOGETHER, epochs=5000)
    assert ran.stderr
    for line in ran.stderr:
        if line.startswith("epoch   2/"):
            ran.send_signal(signal.SIGINT)
            break
    stdout, stderr = ran.communicate(timeout=300)
    assert stderr.count("stopping: the best model so far is kept, and --resume can go on") == 1
    assert "interrupted, best kept" in stdout
    assert "train on with: --resume runs/two/" in stdout
    assert stdout.count("published two version 1") == 1
