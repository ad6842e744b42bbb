"""From a model file to a model that is known to work: opened, checked against its card, warmed up. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from service.backend.contract import Backend, Signature, Tensors, TensorSpec
from service.errors import InferenceError
from zoo.card import (
    FORECAST,
    IMAGE_INPUT,
    LOGITS,
    PROBABILITIES,
    SERIES_INPUT,
    TEXT_INPUT,
    Card,
    ImageTask,
    SeriesTask,
    Task,
    TextTask,
)
from zoo.errors import PackageError
from zoo.golden import check_golden, golden_inputs
from zoo.package import read_card

OpenBackend = Callable[[Path], Backend]
"""Opens a model file; raises PackageError or a ServiceError where it cannot."""

WARM_UP_SECONDS = {"cpu": 0.25, "cuda": 20.0}
"""A CPU needs its memory once; CUDA chooses its algorithms for every new batch size, which takes far longer."""
_FREE_AXIS_SIZES = (8, 64, 256)
"""Tried in turn where a graph without a card leaves an axis free."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that answered its golden samples, or at least a probe, on the device that it will run on."""

    card: Card | None
    backend: Backend
    signature: Signature
    """The backend's, without a batch axis that proved to be none."""
    probe: Tensors | None
    """Inputs of one row that are known to work; None where none were found."""
    golden_error: float
    """Largest error on the golden samples, as a fraction of the tolerance."""
    seconds: float


def load_model(path: Path, open_backend: OpenBackend, *, max_batch_rows: int) -> LoadedModel:
    """Open a model, check it, and warm it up.

    Raises:
        ZooError: the file, its card or its golden samples are not right.
        ServiceError: the model does not run.
    """
    start = perf_counter()
    card = read_card(path)
    backend = open_backend(path)
    try:
        signature, probe = (_check_card(card, backend), _card_probe(card)) if card else _explore(backend)
        golden_error = check_golden(card, backend.run) if card else 0.0
        if card and probe:
            _check_answer(card.task, backend.run(probe))
        if probe:
            _warm_up(backend, probe, signature, max_batch_rows)
    except BaseException:
        backend.close()
        raise
    return LoadedModel(card, backend, signature, probe, golden_error, perf_counter() - start)


def _check_card(card: Card, backend: Backend) -> Signature:
    """The graph must be what the card's task says (see zoo.card)."""
    signature = backend.signature
    inputs, outputs = _contract(card.task)
    for kind, wanted, have in (("input", inputs, signature.inputs), ("output", outputs, signature.outputs)):
        found = {spec.name: f"{spec.datatype} of rank {len(spec.shape)}" for spec in have}
        for name, what in wanted.items():
            if found.get(name) != what:
                raise PackageError(
                    f"a graph for {card.task.kind} has an {kind} {name!r}, {what}; this one has {found or 'none'}"
                )
    if len(signature.inputs) != 1 or signature.max_batch is not None:
        raise PackageError("the graph must have one input and a free batch axis; export it with a dynamic batch")
    return signature


def _contract(task: Task) -> tuple[dict[str, str], dict[str, str]]:
    match task:
        case ImageTask():
            inputs = {IMAGE_INPUT: "UINT8 of rank 4"}
        case TextTask():
            inputs = {TEXT_INPUT: "BYTES of rank 1"}
        case SeriesTask():
            return {SERIES_INPUT: "FP32 of rank 3"}, {FORECAST: "FP32 of rank 3"}
    return inputs, {PROBABILITIES: "FP32 of rank 2", LOGITS: "FP32 of rank 2"}


def _card_probe(card: Card) -> Tensors:
    if card.golden.samples:
        return {name: value[:1] for name, value in golden_inputs(card).items()}
    match card.task:
        case ImageTask(resize=resize):
            return {IMAGE_INPUT: np.zeros((1, resize.height_px, resize.width_px, 3), np.uint8)}
        case TextTask():
            return {TEXT_INPUT: np.array(["probe"], object)}
        case SeriesTask(window_steps=window, features=features):
            return {SERIES_INPUT: np.ones((1, window, len(features)), np.float32)}


def _check_answer(task: Task, outputs: Tensors) -> None:
    name = FORECAST if isinstance(task, SeriesTask) else PROBABILITIES
    row = (task.horizon_steps, len(task.targets)) if isinstance(task, SeriesTask) else (len(task.labels),)
    if outputs[name].shape != (1, *row):
        raise PackageError(f"output {name!r} has shape {outputs[name].shape} where the card promises {(1, *row)}")


def _explore(backend: Backend) -> tuple[Signature, Tensors | None]:
    """Find inputs that a graph without a card accepts, and prove its batch axis with them.

    A first axis that is free everywhere may also be time, or a vocabulary: it is a batch only if two rows together give
    what they give alone. What cannot be proved is served without batching.
    """
    signature = backend.signature
    alone = replace(signature, max_batch=0)
    for size in _FREE_AXIS_SIZES:
        try:
            if signature.max_batch == 0:
                return signature, _checked(backend, _made_up(signature, size, size))
            if signature.max_batch == 1:
                return signature, _checked(backend, _made_up(signature, size, 1))
            both = _made_up(signature, size, 2)
            return (signature if _rows_are_independent(backend, both) else alone), _row(both, 0)
        except InferenceError:
            continue
    return (alone if signature.max_batch is None else signature), None


def _checked(backend: Backend, inputs: Tensors) -> Tensors:
    backend.run(inputs)
    return inputs


def _rows_are_independent(backend: Backend, both: Tensors) -> bool:
    together = backend.run(both)
    singles = [backend.run(_row(both, index)) for index in range(2)]
    return all(_same_rows(value, [single[name] for single in singles]) for name, value in together.items())


def _same_rows(together: np.ndarray, singles: list[np.ndarray]) -> bool:
    if together.ndim == 0 or any(len(single) != 1 for single in singles) or len(together) != 2:
        return False
    alone = np.concatenate(singles)
    if together.dtype.kind not in "fc":
        return bool(np.array_equal(together, alone))
    scale = float(np.abs(np.nan_to_num(alone)).max(initial=0))
    # Dynamic quantisation lets neighbours differ by about this much.
    return bool(np.allclose(together, alone, rtol=0, atol=1e-2 * scale, equal_nan=True))


def _row(inputs: Tensors, index: int) -> Tensors:
    return {name: value[index : index + 1] for name, value in inputs.items()}


def _made_up(signature: Signature, size: int, rows: int) -> Tensors:
    random = np.random.default_rng(0)
    return {spec.name: _values(spec, size, rows, random, signature.max_batch != 0) for spec in signature.inputs}


def _values(spec: TensorSpec, size: int, rows: int, random: np.random.Generator, batched: bool) -> np.ndarray:
    shape = [size if axis < 0 else axis for axis in spec.shape]
    if batched:
        shape[0] = rows
    if spec.datatype == "BYTES":
        return random.choice(np.array(["a probe", "another one"], object), shape)
    if spec.dtype.kind == "f":
        return random.standard_normal(shape).astype(spec.dtype)
    return random.integers(0, 2, shape).astype(spec.dtype)  # may be indices: 0 and 1 are in most ranges


def _warm_up(backend: Backend, probe: Tensors, signature: Signature, max_batch_rows: int) -> None:
    """Run the batch sizes that will come, small ones first, as long as the time for it lasts."""
    end = perf_counter() + WARM_UP_SECONDS[backend.device.name.partition(":")[0]]
    for rows in _warm_up_rows(signature.max_batch, max_batch_rows):
        if perf_counter() > end:
            break
        backend.run({name: np.repeat(value, rows, axis=0) if rows > 1 else value for name, value in probe.items()})


def _warm_up_rows(max_batch: int | None, max_batch_rows: int) -> Iterator[int]:
    yield 1
    rows = 2
    while max_batch is None and rows < max_batch_rows:
        yield rows
        rows *= 2
    if max_batch is None and max_batch_rows > 1:
        yield max_batch_rows
