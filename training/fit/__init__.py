"""The training loop: Lightning's Trainer, driven by what all tasks share."""

from training.fit.loop import FitResult, fit
from training.fit.optimizer import ParameterGroup, parameter_groups

__all__ = ["FitResult", "ParameterGroup", "fit", "parameter_groups"]
