"""`python -m training compare`, and how sure its differences are."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from tests.training.conftest import Result
from tests.training.pictures import write_pictures
from tests.training.published import places
from training.evaluation.significance import paired_difference, share_interval
from training.models.backbones import make_backbone
from training.pipelines.image.compare import compare
from training.settings import CompareSettings
from zoo.repository import scan

TINY = "small_cnn"


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Checked with R: prop.test(x, n, correct = FALSE)$conf.int
    assert share_interval(90, 100) == pytest.approx((0.8256343, 0.9447708), abs=1e-6)
    assert share_interval(20, 20) == pytest.approx((0.8388748, 1.0), abs=1e-6)
    assert share_interval(0, 20).low == 0.0


def test_the_paired_difference_counts_what_only_one_gets_right() -> None:
    ours, other = np.ones(100, bool), np.ones(100, bool)
    other[:10] = False
    ours[10:12] = False
    difference = paired_difference(ours, other)
    assert difference.mean == pytest.approx(0.08)
    assert difference.interval.low < 0.08 < difference.interval.high
    assert difference.p_value == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert paired_difference(ours, ours).p_value == 1.0


def test_the_interval_of_a_paired_difference_is_newcombes() -> None:
    # Cavo et al. 2012: complete response before and after consolidation; the interval that the R package
    # contingencytables of Fagerland, Lydersen and Laake has for it, with four digits.
    before, after = rights(both=59, wins=6, losses=16, neither=80)
    assert paired_difference(before, after).interval == pytest.approx((-0.1186, -0.0046), abs=5e-5)
    assert paired_difference(after, before).interval == pytest.approx((0.0046, 0.1186), abs=5e-5)


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_the_interval_of_a_difference_is_one_of_differences(count: int) -> None:
    all_wins, none = rights(wins=count)
    low, high = paired_difference(all_wins, none).interval
    assert -1 <= low < high == 1
    low, high = paired_difference(all_wins, all_wins).interval
    assert low < 0 < high == -low <= 1, "what both get right says nothing of which is better"


def rights(*, both: int = 0, wins: int = 0, losses: int = 0, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which items each of two classifiers gets right."""
    counts = [both, wins, losses, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_three_ways_of_training_on_one_split(menagerie_train: Callable[..., Result], tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 12)
    torch.manual_seed(0)
    save_file(make_backbone(TINY, 7).network.state_dict(), tmp_path / "tiny.safetensors")
    options = ["--backbone", TINY, "--weights", tmp_path / "tiny.safetensors", "--workers", 0, "--epochs", 1]
    places = ["--output", tmp_path / "zoo", "--name", "colours", "--runs", tmp_path / "runs"]
    result = menagerie_train("compare", pictures, *options, *places, "--head-epochs", 1)
    assert result.exit_code == 0, result.stderr
    rows = [line.split("│")[1].strip() for line in result.stdout.splitlines() if line.startswith("│")]
    modes = ["freeze", "finetune", "scratch"]
    assert rows == [*modes, "majority", "logistic regression on features", *modes]
    assert [version.name for version in scan(tmp_path / "zoo").versions] == [
        "colours-finetune",
        "colours-freeze",
        "colours-scratch",
    ]
    splits = {(next((tmp_path / "runs" / f"colours-{mode}").iterdir()) / "split.csv").read_text() for mode in modes}
    assert len(splits) == 1
    result = menagerie_train("compare", pictures, "--weights", "none", *places)
    assert result.exit_code == 2
    assert "--modes freeze starts from trained weights" in result.stderr


class InterruptingConsole(Console):
    """A terminal whose user presses Ctrl-C when the first epoch is reported."""

    def print(self, *objects: Any, **options: Any) -> None:
        if objects and str(objects[0]).startswith("epoch   1/"):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_the_comparison_with_the_mode(tmp_path: Path) -> None:
    settings = CompareSettings(
        data=write_pictures(tmp_path / "pictures", 8),
        modes=["scratch", "freeze"],
        backbone=TINY,
        image_size=16,
        epochs=2,
        workers=0,
        name="colours",
        **places(tmp_path),
    )
    (only,) = compare(settings, InterruptingConsole()).modes
    assert (only.mode, only.outcome.fit.interrupted) == ("scratch", True)
    assert [version.name for version in scan(tmp_path / "zoo").versions] == ["colours-scratch"]
