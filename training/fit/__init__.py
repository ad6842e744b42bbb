"""The training loop: Lightning's Trainer, driven by what all tasks share."""

from training.fit.loop import FitResult, fit, make_run_folder, parameter_groups

__all__ = ["FitResult", "fit", "make_run_folder", "parameter_groups"]
