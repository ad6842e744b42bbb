"""The publication gate: an exported graph is published only if it does what the trained torch model does.

Both sides are a `zoo.golden.Run`, named tensors in and out, so that the gate knows nothing about tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from training.errors import GateError, SettingsError
from zoo.card import Card
from zoo.golden import Run, Tensors, check_golden
from zoo.repository import ModelVersion, publish
from zoo.runtime import make_run, open_session

PARITY_LIMIT = 1e-4
"""Relative error allowed between torch and ONNX Runtime in float32."""
BATCH_SIZES = (1, 2, 5)
"""Batch sizes to compare at; an export can be right at the example's size and wrong at others."""


def check_parity(torch_run: Run, onnx_run: Run, batches: Iterable[Tensors], *, limit: float = PARITY_LIMIT) -> float:
    """Compare two implementations of one graph on batches of different sizes (and lengths).

    The error of an output is its largest difference, relative to the largest value that torch gave in that batch.

    Returns:
        The largest relative error.

    Raises:
        GateError: it is over `limit`, or shapes differ, or a value is not finite.
    """
    worst = 0.0
    for inputs in batches:
        expected, got = torch_run(inputs), onnx_run(inputs)
        for name in expected:
            worst = max(worst, _relative_error(name, expected[name], got[name], _shapes(inputs), limit))
    return worst


def check_batch_independence(run: Run, batches: Iterable[Tensors], *, limit: float = PARITY_LIMIT) -> None:
    """Compare what a graph gives for a batch with what it gives for each item alone; for quantised graphs.

    Raises:
        GateError: they differ by more than `limit`, relative.
    """

    def one_by_one(inputs: Tensors) -> Tensors:
        count = len(next(iter(inputs.values())))
        single = [run({name: value[item : item + 1] for name, value in inputs.items()}) for item in range(count)]
        return {name: np.concatenate([outputs[name] for outputs in single]) for name in single[0]}

    check_parity(one_by_one, run, batches, limit=limit)


def check_metric(name: str, torch_value: float, onnx_value: float, *, tolerance: float = 1e-3) -> None:
    """Compare a test metric of the torch model with the same one measured through ONNX Runtime.

    Raises:
        GateError: they differ by more than `tolerance`.
    """
    if not abs(torch_value - onnx_value) <= tolerance:
        raise GateError(
            f"{name} on the test part is {torch_value:.5g} in torch and {onnx_value:.5g} in ONNX Runtime; "
            f"they may differ by {tolerance:g}"
        )


def publish_checked(
    onnx_bytes: bytes, card: Card, repository: Path, name: str, version: int | None = None
) -> ModelVersion:
    """Publish a model that reproduces its golden samples through ONNX Runtime.

    Raises:
        GoldenError: it does not.
        RepositoryError: the name or the version cannot be used.
        SettingsError: the repository cannot be written.
    """
    check_golden(card, make_run(open_session(onnx_bytes)))
    try:
        return publish(onnx_bytes, card, repository, name, version)
    except OSError as exc:
        raise SettingsError(
            f"{repository} cannot be written: {exc.strerror}; nothing was published; a run publishes with --resume, "
            "once it can"
        ) from exc


def _relative_error(name: str, expected: np.ndarray, got: np.ndarray, shapes: str, limit: float) -> float:
    if expected.shape != got.shape:
        raise GateError(f"{name} for {shapes}: torch gives shape {expected.shape}, ONNX Runtime {got.shape}")
    scale = float(np.abs(expected).max(initial=np.finfo(np.float32).tiny))
    error = float(np.abs(expected.astype(np.float64) - got).max(initial=0)) / scale
    if not error <= limit:  # NaN is over every limit
        raise GateError(
            f"{name} for {shapes}: torch and ONNX Runtime differ by {error:.2g} of the largest value, limit {limit:g}; "
            f"an operator is exported differently from what it computes"
        )
    return error


def _shapes(inputs: Tensors) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
