"""What a trained image classifier is published with: a temperature, test-time augmentation, a class activation map."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from training.data.images import EvaluationImages
from training.evaluation.calibration import fit_temperature
from training.evaluation.classification import collect_logits
from training.export.image import export_image_classifier, torch_run
from training.export.quantize import speedup
from training.models.image import ImageClassifier
from training.models.published import PooledHead, PublishedClassifier, TestTimeViews
from training.pipelines.image.export import EVALUATION_BATCH, ImageData
from training.settings import ImageSettings

Tried = dict[str, dict[str, float | str]]


@dataclass(frozen=True)
class CompleteClassifier:
    """What is exported."""

    classifier: PublishedClassifier
    temperature: float | None
    """None: its logits are as they were trained."""
    log_loss: float
    """On the validation part."""
    accuracy: float
    """Likewise."""


def complete_classifier(
    classifier: ImageClassifier, pooled: PooledHead | None, data: ImageData, settings: ImageSettings
) -> tuple[CompleteClassifier, Tried]:
    """Find the temperature, and try test-time augmentation where the settings want it.

    It is kept if it lowers the log loss on the validation part; its cost is the time of a batch of 8 by ONNX Runtime,
    on one thread.

    Returns:
        The classifier to export, and what was tried, for the card.
    """
    validation = data.part(data.split.validation)
    plain = _complete(classifier.eval(), pooled, validation, "none", settings)
    if settings.tta == "none":
        return plain, {}
    augmented = _complete(classifier, pooled, validation, settings.tta, settings)
    graphs = [export_image_classifier(one.classifier, data.resize) for one in (plain, augmented)]
    (few, _), *_ = validation.batches(8)
    better = augmented.log_loss < plain.log_loss
    verdict = "its log loss on the validation part is lower" if better else "it does not lower the log loss"
    rows: Tried = {
        "one view": _measured(plain, 1.0) | {"kept": "no: several are better" if better else "yes"},
        f"test-time augmentation {settings.tta}": _measured(augmented, speedup(graphs[1], graphs[0], few))
        | {"kept": f"yes: {verdict}" if better else f"no: {verdict}"},
    }
    return (augmented if better else plain), rows


def _complete(
    classifier: ImageClassifier,
    pooled: PooledHead | None,
    validation: EvaluationImages,
    views: TestTimeViews,
    settings: ImageSettings,
) -> CompleteClassifier:
    run = torch_run(PublishedClassifier(classifier, views=views))
    logits, classes = collect_logits(run, validation.batches(EVALUATION_BATCH))
    temperature = fit_temperature(logits, classes) if settings.calibrate else None
    return CompleteClassifier(
        PublishedClassifier(classifier, views=views, pooled=pooled, temperature=temperature or 1.0),
        temperature,
        log_loss=float(torch.nn.functional.cross_entropy(logits / (temperature or 1.0), classes)),
        accuracy=float((logits.argmax(1) == classes).float().mean()),
    )


def _measured(complete: CompleteClassifier, cost: float) -> dict[str, float | str]:
    return {
        "validation_log_loss": round(complete.log_loss, 5),
        "validation_accuracy": round(complete.accuracy, 5),
        "times_the_time": round(cost, 2),
    }
