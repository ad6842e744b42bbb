"""From a table of readings to a published forecaster."""

from training.pipelines.series.train import SeriesOutcome, train_series

__all__ = ["SeriesOutcome", "train_series"]
