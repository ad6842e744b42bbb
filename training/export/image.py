"""The graph of an image classifier: uint8 pixels in, probabilities, logits and perhaps a class activation map out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from training.export.tidy import without_notes
from training.models.image import ImageClassifier
from training.models.published import PublishedClassifier
from zoo.card import IMAGE_INPUT, PROBABILITIES, Resize
from zoo.golden import Run, Tensors


class _ImageGraph(nn.Module):
    """What is exported."""

    def __init__(self, classifier: ImageClassifier | PublishedClassifier) -> None:
        super().__init__()
        self.classifier = classifier if isinstance(classifier, PublishedClassifier) else PublishedClassifier(classifier)
        self.outputs = (PROBABILITIES, *self.classifier.outputs)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, *more = self.classifier(image)
        return logits.softmax(1), logits, *more


def export_image_classifier(classifier: ImageClassifier | PublishedClassifier, resize: Resize) -> bytes:
    """Export to ONNX with a dynamic batch axis, in one piece.

    Args:
        classifier: in evaluation mode, on the CPU.
        resize: gives height and width of the input.
    """
    # A batch of 1 would be taken for a constant.
    example = torch.zeros(2, resize.height_px, resize.width_px, 3, dtype=torch.uint8)
    graph = _ImageGraph(classifier).eval()
    with quiet_export():
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=[IMAGE_INPUT],
            output_names=graph.outputs,
            dynamic_shapes=({0: "batch"},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "torch.onnx.export returns the program when it gets no file"
    return bytes(without_notes(program.model_proto).SerializeToString())


def torch_run(classifier: ImageClassifier | PublishedClassifier) -> Run:
    """The classifier as a graph, computed by torch."""
    graph = _ImageGraph(classifier).eval()

    def run(inputs: Tensors) -> Tensors:
        with torch.inference_mode():
            values = graph(torch.from_numpy(inputs[IMAGE_INPUT]))
        return {name: value.numpy() for name, value in zip(graph.outputs, values, strict=True)}

    return run


def gate_batches(pixels: np.ndarray, sizes: Sequence[int]) -> list[Tensors]:
    """Batches of the given sizes from uint8 [N, H, W, 3], images repeated where they are too few."""
    return [{IMAGE_INPUT: pixels[np.arange(size) % len(pixels)]} for size in sizes]


@contextmanager
def quiet_export() -> Iterator[None]:
    """Within, the exporter does not tell of its internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
