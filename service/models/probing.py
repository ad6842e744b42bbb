"""Inputs that a model is known to take, found by trying, and what is run before a model serves. Blocking."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from service.backend.contract import Backend, Tensors, TensorSpec
from service.backend.padding import batch_sizes
from service.errors import InferenceError, OutOfMemoryError
from service.models.fitting import Fitted, first_step, to_graph
from service.models.model_settings import ModelSettings
from zoo.errors import PackageError

log = logging.getLogger(__name__)

_FREE_AXIS_SIZES = (8, 64, 256)
"""Tried in turn where a graph without a card leaves an axis free."""


def explore(backend: Backend, fitted: Fitted, settings: ModelSettings) -> tuple[Fitted, Tensors | None]:
    """Find inputs that a graph without a card accepts, and prove its batch axis with them.

    A first axis that is free everywhere may also be time, or a vocabulary: it is a batch only if two rows together give
    what they give alone. What cannot be proved is served without batching, unless a configuration says that it is one.
    """
    graph = fitted.graph
    for size in _FREE_AXIS_SIZES:
        try:
            if graph.max_batch is not None or fitted.settled:
                rows = size if graph.max_batch == 0 else 1
                return fitted, _checked(backend, _made_up(fitted, settings, size, rows))
            both = _made_up(fitted, settings, size, 2)
            return (fitted if _rows_are_independent(backend, both) else _unbatched(fitted)), _row(both, 0)
        except InferenceError:
            continue
    return (_unbatched(fitted) if graph.max_batch is None and not fitted.settled else fitted), None


def _unbatched(fitted: Fitted) -> Fitted:
    return replace(
        fitted, graph=replace(fitted.graph, max_batch=0), callers=replace(fitted.callers, max_batch=0), settled=True
    )


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


def _made_up(fitted: Fitted, settings: ModelSettings, size: int, rows: int) -> Tensors:
    """Values for what callers send, and what the server adds to the first step of a sequence."""
    random, batched = np.random.default_rng(0), fitted.graph.max_batch != 0
    added = first_step(fitted, settings, rows)
    free = [spec for spec in fitted.graph.inputs if spec.name not in added]
    return {spec.name: _values(spec, size, rows, random, batched) for spec in free} | added


def _values(spec: TensorSpec, size: int, rows: int, random: np.random.Generator, batched: bool) -> np.ndarray:
    shape = [size if axis < 0 else axis for axis in spec.shape]
    if batched:
        shape[0] = rows
    if spec.datatype == "BYTES":
        return random.choice(np.array(["a probe", "another one"], object), shape)
    if spec.dtype.kind == "f":
        return random.standard_normal(shape).astype(spec.dtype)
    return random.integers(0, 2, shape).astype(spec.dtype)  # may be indices: 0 and 1 are in most ranges


def run_warm_ups(backend: Backend, fitted: Fitted, settings: ModelSettings) -> None:
    """Run the requests that a configuration asks for; one that fails is an error of the model."""
    batched = fitted.graph.max_batch != 0
    for sample in settings.warm_ups:
        rows = len(next(iter(sample.inputs.values()))) if batched and sample.inputs else 1
        inputs = first_step(fitted, settings, rows) | to_graph(settings, sample.inputs, batched=batched)
        names = {spec.name for spec in fitted.graph.inputs}
        if set(inputs) != names:
            wrong = ", ".join(sorted(set(inputs) ^ names))
            raise PackageError(f"model_warmup {sample.name!r}: inputs are missing, or are none of the graph: {wrong}")
        for _ in range(sample.count):
            backend.run(inputs)


def warm_up(backend: Backend, probe: Tensors, most: int, runs: int = 1) -> None:
    """Prepare for the runs that will come.

    On CUDA by running all batch sizes up to `most` rows, and as many runs at a time as there will be, since each has
    buffers and handles of its own; where the memory ends, batches will be smaller.

    A CPU has nothing to prepare but memory, which a batch takes when it first needs it: that costs less than the batch
    itself, once, while many models are never sent a large one. So what checking the model took is given back, but for
    what a lone row needs.
    """
    if backend.device.kind == "cpu":
        backend.shrink()
        for _ in range(2):
            backend.run(probe)
        return
    with ThreadPoolExecutor(runs) as pool:
        # Where one will do, it is this thread: memory that a new one takes is in a heap of its own, which outlives it.
        each: Callable[..., Iterable[Tensors]] = pool.map if runs > 1 else map
        for rows in batch_sizes(most):
            batch = {name: np.repeat(value, rows, axis=0) if rows > 1 else value for name, value in probe.items()}
            try:
                list(each(backend.run, [batch] * runs))
            except OutOfMemoryError as exc:
                if rows == 1:
                    raise
                log.warning("warm-up: a batch of %d rows does not fit into the memory: %s", rows, exc.detail)
                break
