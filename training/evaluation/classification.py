"""Metrics of a classifier on a data set, through any implementation of its graph (torch or ONNX Runtime)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_f1_score

from zoo.card import LOGITS
from zoo.golden import Run, Tensors


@dataclass(frozen=True)
class ClassificationReport:
    """How a classifier does on a data set."""

    accuracy: float
    macro_f1: float
    """Mean of the classes' F1 scores."""
    log_loss: float
    """Mean negative log-likelihood of the true class, in nats."""
    confusion: NDArray[np.int64]
    """[K, K] counts, rows the true class, columns the predicted one."""
    probabilities: NDArray[np.float32]
    """Of each item and class, [N, K]."""
    targets: NDArray[np.int64]
    """The true class of each item, [N]."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the answer is right, of each item [N]."""
        return np.asarray(self.probabilities.argmax(1) == self.targets)

    def metrics(self) -> dict[str, float]:
        """The numbers for a card."""
        return {
            "accuracy": round(self.accuracy, 5),
            "macro_f1": round(self.macro_f1, 5),
            "log_loss": round(self.log_loss, 5),
            "test_items": float(self.confusion.sum()),
        }


def classification_report(run: Run, batches: Iterable[tuple[Tensors, Sequence[int]]]) -> ClassificationReport:
    """Run a classifier over `(inputs, classes)` batches and compare its answers with the classes."""
    logits, targets = collect_logits(run, batches)
    predicted = logits.argmax(1)
    classes = logits.shape[1]
    return ClassificationReport(
        accuracy=float((predicted == targets).float().mean()),
        macro_f1=float(multiclass_f1_score(predicted, targets, classes, average="macro")),
        log_loss=float(torch.nn.functional.cross_entropy(logits, targets)),
        confusion=multiclass_confusion_matrix(predicted, targets, classes).numpy().astype(np.int64),
        probabilities=logits.softmax(1).numpy(),
        targets=targets.numpy().astype(np.int64),
    )


def collect_logits(run: Run, batches: Iterable[tuple[Tensors, Sequence[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits float32 [N, K] and classes int64 [N] of all batches."""
    logits: list[NDArray[np.generic]] = []
    targets: list[int] = []
    for inputs, classes in batches:
        logits.append(run(inputs)[LOGITS])
        targets.extend(classes)
    return torch.from_numpy(np.concatenate(logits).astype(np.float32)), torch.tensor(targets)
