"""From labelled texts to a published classifier."""

from training.pipelines.text.measure import report_on
from training.pipelines.text.network import train_classifier
from training.pipelines.text.train import TextOutcome, train_text

__all__ = ["TextOutcome", "report_on", "train_classifier", "train_text"]
