"""What the course of the losses says about a training."""

from __future__ import annotations

from collections.abc import Sequence

_NOTABLE = 0.02
"""Part of a loss that is more than the noise of an epoch."""


def learning_verdict(history: Sequence[dict[str, float]]) -> str:
    """One sentence on overfitting, from the losses of each epoch (see `training.fit.FitResult.history`)."""
    validation = [row["validation_loss"] for row in history]
    lowest = min(range(len(validation)), key=validation.__getitem__)
    last = len(validation) - 1
    rise = validation[last] / max(validation[lowest], 1e-12) - 1
    falling = history[last]["train_loss"] < history[lowest]["train_loss"]
    if last == 0:
        return "One epoch says nothing about overfitting."
    if rise > _NOTABLE and falling:
        return (
            f"Overfitting: since epoch {lowest + 1} the validation loss has risen by {rise:.0%} while the training "
            f"loss fell; more data, augmentation or regularisation would help."
        )
    if rise > _NOTABLE:
        return (
            f"Unsteady: since epoch {lowest + 1} the validation loss has risen by {rise:.0%}, and the training loss "
            f"has not fallen; a lower learning rate may help."
        )
    if lowest == last and validation[last - 1] > validation[last] * (1 + _NOTABLE):
        return "The validation loss was still falling at the end; more epochs may help."
    return "No sign of overfitting: the validation loss has levelled off."
