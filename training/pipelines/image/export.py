"""From a trained image classifier to the graph to publish: export, gate, int8 if it is worth it, golden samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.images import EvaluationImages, LabelledImages
from training.data.split import Split
from training.evaluation.classification import ClassificationReport, classification_report
from training.export.gate import BATCH_SIZES, check_batch_independence, check_metric, check_parity
from training.export.golden import FLOAT_TOLERANCE, choose_samples, encode_small, make_golden
from training.export.image import export_image_classifier, gate_batches, torch_run
from training.export.quantize import FLOAT_CONVOLUTIONS, LEAST_TOLERANCE, probability_gap, quantize_int8, speedup
from training.models.published import PublishedClassifier
from zoo.card import IMAGE_INPUT, PROBABILITIES, Card, Resize
from zoo.golden import Run
from zoo.runtime import make_run, open_session

QUANTISATION_BUDGET = 0.005
"""Accuracy that int8 may lose."""
_CALIBRATION_IMAGES = 500
_ROUNDING = 1e-6
"""A loss of just the budget is within it."""
EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Candidate:
    """A graph that may be published."""

    onnx_bytes: bytes
    run: Run
    validation: ClassificationReport
    test: ClassificationReport
    golden_atol: float
    golden_rtol: float


@dataclass(frozen=True)
class ImageData:
    """The images and their parts."""

    images: LabelledImages
    split: Split
    resize: Resize

    def part(self, indexes: tuple[int, ...]) -> EvaluationImages:
        """Some images, for evaluation."""
        return EvaluationImages(self.images, indexes, self.resize)

    def probabilities(self, run: Run, indexes: tuple[int, ...]) -> NDArray[np.float32]:
        """[N, K], in the order of the indexes."""
        batches = self.part(indexes).batches(EVALUATION_BATCH)
        return np.concatenate([run(inputs)[PROBABILITIES] for inputs, _ in batches]).astype(np.float32)

    def report(self, run: Run, indexes: tuple[int, ...]) -> ClassificationReport:
        """Metrics of a graph on a part."""
        return classification_report(run, self.part(indexes).batches(EVALUATION_BATCH))


def export_checked(classifier: PublishedClassifier, data: ImageData) -> tuple[Candidate, float]:
    """The float32 graph, through the gate, and its parity with torch."""
    classifier.eval()
    onnx_bytes = export_image_classifier(classifier, data.resize)
    expected, run = torch_run(classifier), make_run(open_session(onnx_bytes))
    sample = data.part(data.split.validation[: max(BATCH_SIZES)])
    pixels = np.stack([sample.pixels(item) for item in range(len(sample))])
    parity = check_parity(expected, run, gate_batches(pixels, BATCH_SIZES))
    validation, test = data.report(run, data.split.validation), data.report(run, data.split.test)
    check_metric("accuracy", data.report(expected, data.split.test).accuracy, test.accuracy)
    return Candidate(onnx_bytes, run, validation, test, FLOAT_TOLERANCE, FLOAT_TOLERANCE), parity


def try_int8(
    float_graph: Candidate, expected: Run, data: ImageData, *, budget: float = QUANTISATION_BUDGET
) -> tuple[Candidate, dict[str, dict[str, float | str]]]:
    """The int8 graph if it is faster and accurate, else the float one; and what was measured, for the card.

    The tolerance of its golden samples is the 99th percentile, over the validation images, of the largest difference
    of a probability from what torch gives.
    """
    (few, _), *_ = data.part(data.split.validation).batches(8)
    attempts = {count: _quantize(float_graph, expected, data, count) for count in FLOAT_CONVOLUTIONS}
    speeds = {count: speedup(float_graph.onnx_bytes, attempt.onnx_bytes, few) for count, attempt in attempts.items()}
    least = float_graph.validation.accuracy - budget - _ROUNDING
    # The validation part chooses; the test part only says whether the choice will do.
    accurate = [count for count, attempt in attempts.items() if attempt.validation.accuracy >= least]
    best = max(accurate or attempts, key=speeds.__getitem__)
    int8, faster = attempts[best], speeds[best]
    check_batch_independence(int8.run, gate_batches(few[IMAGE_INPUT], BATCH_SIZES))
    reason = _reason_against(float_graph, int8, faster, budget)
    tried = {
        "float32": _measured(float_graph, 1.0, "yes" if reason else "no: int8 is faster and as accurate"),
        "int8": _measured(int8, faster, f"no: {reason}" if reason else "yes") | {"float_convolutions": float(best)},
    }
    for count, attempt in attempts.items():
        if count != best:
            why = "no: another is faster" if count in accurate else "no: it loses more on the validation part"
            tried[f"int8, {count} convolutions in float32"] = _measured(attempt, speeds[count], why)
    return (float_graph if reason else int8), tried


def _quantize(float_graph: Candidate, expected: Run, data: ImageData, float_convolutions: int) -> Candidate:
    rng = np.random.default_rng(0)
    count = min(_CALIBRATION_IMAGES, len(data.split.train))
    calibration = tuple(int(index) for index in rng.choice(data.split.train, count, replace=False))
    batches = (inputs for inputs, _ in data.part(calibration).batches(8))
    onnx_bytes = quantize_int8(float_graph.onnx_bytes, batches, float_convolutions=float_convolutions)
    run = make_run(open_session(onnx_bytes))
    validation = data.split.validation
    gap = probability_gap(data.probabilities(expected, validation), data.probabilities(run, validation))
    reports = [data.report(run, part) for part in (validation, data.split.test)]
    tolerance = max(round(gap, 4), LEAST_TOLERANCE)
    return Candidate(onnx_bytes, run, reports[0], reports[1], golden_atol=tolerance, golden_rtol=0.0)


def _reason_against(float_graph: Candidate, int8: Candidate, faster: float, budget: float) -> str:
    for part, before, after in (
        ("validation", float_graph.validation, int8.validation),
        ("test", float_graph.test, int8.test),
    ):
        if after.accuracy < before.accuracy - budget - _ROUNDING:
            return f"{part} accuracy falls from {before.accuracy:.4f} to {after.accuracy:.4f}"
    return "" if faster > 1 else f"its speed is {faster:.2f} times that of float32"


def _measured(candidate: Candidate, faster: float, kept: str) -> dict[str, float | str]:
    return {
        "validation_accuracy": round(candidate.validation.accuracy, 5),
        "accuracy": round(candidate.test.accuracy, 5),
        "megabytes": round(len(candidate.onnx_bytes) / 1e6, 2),
        "speedup": round(faster, 2),
        "golden_atol": candidate.golden_atol,
        "kept": kept,
    }


def with_golden(card: Card, classifier: PublishedClassifier, chosen: Candidate, data: ImageData) -> Card:
    """The card with golden samples from the test part."""
    run, test = torch_run(classifier), data.split.test
    rows = choose_samples(data.probabilities(run, test), [data.images.labels[index] for index in test])
    items = [data.images.items[test[row]] for row in rows]
    images = [encode_small(item.decode()) for item in items]
    golden = make_golden(images, data.resize, run, atol=chosen.golden_atol, rtol=chosen.golden_rtol)
    named = {**card.provenance.settings, "golden_samples": ", ".join(item.name for item in items)}
    provenance = card.provenance.model_copy(update={"settings": named})
    return card.model_copy(update={"golden": golden, "provenance": provenance})
