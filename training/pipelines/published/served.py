"""The same examples through a running server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.errors import RemoteError
from training.pipelines.published.examples import Examples, Measured
from training.remote import RemoteModel, remote_model
from training.settings import EvaluateSettings
from zoo.card import FORECAST, LOGITS
from zoo.golden import Run, Tensors

_TOKEN = "MENAGERIE_TOKEN"


@dataclass(frozen=True)
class Remote:
    """What a server answered to the same items."""

    measured: Measured
    largest_difference: float
    """Of a probability, or of a forecast in its unit, from ONNX Runtime here."""
    other_answers: int
    """Items to which it names another class."""


def ask_server(settings: EvaluateSettings, name: str, version: int, examples: Examples, here: Measured) -> Remote:
    """Measure a model on the server of the settings.

    Args:
        settings: which server, and how.
        name: of the model there.
        version: of the model; 0: the newest.
        examples: to measure on.
        here: what ONNX Runtime gave for them.

    Raises:
        RemoteError: the server does not answer, or has another model of that name.
    """
    token = os.environ.get(_TOKEN, "")
    with remote_model(settings.server, name, version, token=token, authorities=settings.server_ca) as model:
        run = model.run if settings.server_tensors or examples.files is None else _as_files(model, examples.files())
        there = examples.measure(_checked(run, here.outputs.shape[1:]))
    answers = 0
    if there.report and here.report:
        answers = int((there.outputs.argmax(1) != here.outputs.argmax(1)).sum())
    return Remote(there, float(np.abs(there.outputs - here.outputs).max()), answers)


def _checked(run: Run, shape: tuple[int, ...]) -> Run:
    """The same; an answer of another shape is that of another model."""

    def checked(inputs: Tensors) -> Tensors:
        outputs = run(inputs)
        answer = outputs.get(LOGITS, outputs.get(FORECAST))
        if answer is None or answer.shape[1:] != shape:
            got = "none" if answer is None else list(answer.shape[1:])
            raise RemoteError(
                f"the server has another model of that name: {got} values of each item, not {list(shape)}"
            )
        return outputs

    return checked


def _as_files(model: RemoteModel, batches: Iterator[list[bytes]]) -> Run:
    """Asks for the images of a batch as users do, with files, which the server decodes."""

    def run(_: Tensors) -> Tensors:
        return {LOGITS: np.log(np.maximum(model.classify(next(batches)), np.finfo(np.float32).tiny))}

    return run
