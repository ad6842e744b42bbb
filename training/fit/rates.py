"""The learning rate range test (L. Smith, https://arxiv.org/abs/1506.01186): a short training at rates that grow from
step to step shows at which the loss falls fastest.

Lightning's own (`Tuner.lr_find`) sets all parameter groups to one rate, so it says nothing of a backbone that learns at
a tenth of the rate of its head; here groups keep their ratios.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from training.data.order import set_epoch
from training.errors import FitError
from training.files import write_whole
from training.fit.module import FitModule
from training.fit.optimizer import ParameterGroup

RATES_FILE, RATES_FIGURE = "rates.json", "rates.png"
_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 100
_EXPLODED = 4.0
"""Times the lowest loss so far, at which the test ends."""
_NEIGHBOURS = 11
"""Losses that are averaged, to be drawn and to see an explosion; batches differ."""
_ON_A_LINE = 31
"""Losses that tell a slope: of two decades."""


class RangeTest(FitModule):
    """A training at rates that grow; arguments as of `FitModule`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.losses: list[float] = []

    def configure_optimizers(self) -> Any:
        """Each group at its ratio to the rate that is tested."""
        rates = rates_of_test()
        optimizer = torch.optim.AdamW([dict(group) for group in self.groups], lr=self.settings.learning_rate)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rates[min(step, _STEPS - 1)] / self.settings.learning_rate
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Keep the loss; end when it explodes."""
        self.losses.append(float(outputs["loss"]))
        smooth = smoothed(self.losses)
        if not smooth[-1] <= _EXPLODED * smooth.min():  # NaN is over every limit
            self.trainer.should_stop = True


def find_rate(test: RangeTest, train: DataLoader[Any], trainer_options: dict[str, Any]) -> float | None:
    """The rate at which the loss falls fastest; None: it does not fall at any. The model is left as it was.

    Writes the losses to `rates.json` and a drawing, `rates.png`, in the run folder of the test; where they are already,
    it was done before.

    Raises:
        FitError: they cannot be written.
    """
    kept = test.run_folder / RATES_FILE
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))["found"]  # type: ignore[no-any-return]
    before = {key: value.detach().cpu().clone() for key, value in test.model.state_dict().items()}
    set_epoch(train, 0)
    trainer = pl.Trainer(
        **trainer_options,
        max_steps=_STEPS,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(test, train)
    test.cpu()
    test.model.load_state_dict(before)
    test.model.zero_grad(set_to_none=True)
    found = steepest_rate(test.losses)
    try:
        _write(test.losses, found, kept)
    except OSError as exc:
        raise FitError(f"{kept} cannot be written ({exc}); make room and begin again") from exc
    return found


def with_rate(groups: Sequence[ParameterGroup], factor: float) -> list[ParameterGroup]:
    """The groups at so many times their rates."""
    return [{**group, "lr": factor * group["lr"]} for group in groups]


def rates_of_test() -> NDArray[np.float64]:
    """One per step."""
    return np.geomspace(_LOWEST, _HIGHEST, _STEPS)


def smoothed(losses: Sequence[float]) -> NDArray[np.float64]:
    """The mean of each loss and its neighbours on both sides, which, unlike a running mean, is not late."""
    kernel = np.ones(_NEIGHBOURS)
    counts = np.convolve(np.ones(len(losses)), kernel, mode="full")
    sums = np.convolve(np.asarray(losses, np.float64), kernel, mode="full")
    half = _NEIGHBOURS // 2
    means: NDArray[np.float64] = (sums / counts)[half : half + len(losses)]
    return means


def steepest_rate(losses: Sequence[float]) -> float | None:
    """The rate at which the loss falls fastest over the logarithm of the rate, by a line through its neighbours.

    Of fewer neighbours the noise of the batches would choose, where a network begins nearly as good as it gets.
    """
    finite = np.array([loss for loss in losses if math.isfinite(loss)])
    if len(finite) < _ON_A_LINE:
        return None
    steps = np.arange(_ON_A_LINE) - _ON_A_LINE // 2  # which are equal in the logarithm
    slopes = np.lib.stride_tricks.sliding_window_view(finite, _ON_A_LINE) @ steps
    if slopes.min() >= 0:
        return None
    return float(rates_of_test()[_ON_A_LINE // 2 + int(slopes.argmin())])


def _write(losses: Sequence[float], found: float | None, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_rates(losses, found, path.with_name(RATES_FIGURE))
    rates = rates_of_test()[: len(losses)].tolist()
    finite = [loss if math.isfinite(loss) else None for loss in losses]
    write_whole(path, json.dumps({"found": found, "rates": rates, "losses": finite}))


def draw_rates(losses: Sequence[float], found: float | None, path: Path) -> None:
    """A PNG of the losses over the rates."""
    rates = rates_of_test()[: len(losses)]
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="lightgrey", label="loss of a batch")
    axes.plot(rates, smoothed(losses), color="tab:blue", label=f"mean of {_NEIGHBOURS}")
    if found is not None:
        axes.axvline(found, color="tab:red", linestyle=":", label=f"falls fastest: {found:.2g}")
    first = next((loss for loss in losses if math.isfinite(loss)), 1.0)
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(0, 2 * max(first, 1e-9)))
    axes.legend()
    figure.savefig(path, dpi=110)
