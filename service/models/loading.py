"""From a model file to a model that is known to work: opened, checked against its card, warmed up. Blocking."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from service.backend.contract import Backend, Signature, Tensors
from service.backend.padding import PaddedBackend, batch_sizes
from service.models import pace
from service.models.fitting import Fitted, fit
from service.models.model_settings import DEFAULTS, ModelSettings, SequenceSettings, card_sequence
from service.models.probing import explore, run_warm_ups, warm_up
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
from zoo.golden import check_golden, golden_inputs, zero_state
from zoo.package import read_card

OpenBackend = Callable[[Path], Backend]
"""Opens a model file; raises PackageError or a ServiceError where it cannot."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that answered its golden samples, or at least a probe, on the device that it will run on."""

    card: Card | None
    backend: Backend
    signature: Signature
    """What callers send and see: without state, and without a batch axis that proved to be none."""
    graph: Signature
    """All that the graph takes and gives."""
    settings: ModelSettings
    """What is set for the model, the state that its card declares included."""
    probe: Tensors | None
    """Inputs of one row that are known to work; None where none were found."""
    golden_error: float
    """Largest error on the golden samples, as a fraction of the tolerance."""
    row_seconds: float
    """What a run of one row takes; infinite where no inputs are known."""
    run_rows: int
    """Rows of one run; 0: there is no batch axis."""
    threads: int
    """Cores that one run may use."""
    frugal: bool
    """Whether that is one, where it could be more."""
    seconds: float
    """What loading took."""

    @property
    def takes_pictures(self) -> bool:
        """Whether one row is enough to keep a core busy, see `pace.are_pictures`."""
        return pace.are_pictures(self.row_seconds, self.backend.device, self.graph)


def load_model(
    path: Path,
    open_backend: OpenBackend,
    open_frugally: OpenBackend | None = None,
    *,
    threads: int = 1,
    max_batch_rows: int,
    settings: ModelSettings = DEFAULTS,
) -> LoadedModel:
    """Open a model, check it, and warm it up.

    Args:
        path: the file.
        open_backend: opens it.
        open_frugally: opens it on one core, for a model so small that several get in each other's way; None: the first
            way is as frugal.
        threads: cores that `open_backend` gives to one run.
        max_batch_rows: rows that a run may have.
        settings: what is set for the model.

    Raises:
        ZooError: the file, its card, its configuration or its golden samples are not right.
        ServiceError: the model does not run.
    """
    start = perf_counter()
    card = read_card(path)
    settings = _with_card_state(settings, card)
    opened = _open(path, card, open_backend, max_batch_rows, settings)
    frugal = open_frugally is not None and pace.is_short(opened.row_seconds)
    if open_frugally and frugal:
        opened.backend.close()
        opened = _open(path, card, open_frugally, max_batch_rows, settings)
    try:
        run_rows = _warm_up(opened, max_batch_rows, settings)
    except BaseException:
        opened.backend.close()
        raise
    return LoadedModel(
        card=card,
        backend=opened.backend,
        signature=opened.fitted.callers,
        graph=opened.fitted.graph,
        settings=settings,
        probe=opened.probe,
        golden_error=opened.golden_error,
        row_seconds=opened.row_seconds,
        run_rows=run_rows,
        threads=1 if frugal else threads,
        frugal=frugal,
        seconds=perf_counter() - start,
    )


@dataclass(frozen=True)
class _Opened:
    """A model that answered."""

    backend: Backend
    fitted: Fitted
    probe: Tensors | None
    golden_error: float
    row_seconds: float


def _open(
    path: Path, card: Card | None, open_backend: OpenBackend, max_batch_rows: int, settings: ModelSettings
) -> _Opened:
    backend = open_backend(path)
    try:
        fitted = fit(backend.signature, settings)
        if card:
            _check_card(card, backend.signature, fitted)
            backend = _padded(backend, fitted, max_batch_rows)
            golden_error = check_golden(card, backend.run)
            probe: Tensors | None = _checked_probe(card, backend)
        else:
            (fitted, probe), golden_error = explore(backend, fitted, settings), 0.0
            backend = _padded(backend, fitted, max_batch_rows)
        row_seconds = pace.run_seconds(backend, probe) if probe else math.inf
    except BaseException:
        backend.close()
        raise
    return _Opened(backend, fitted, probe, golden_error, row_seconds)


def _warm_up(opened: _Opened, max_batch_rows: int, settings: ModelSettings) -> int:
    """Run what will come; the rows that a run will have."""
    backend, graph = opened.backend, opened.fitted.graph
    run_rows = pace.run_rows(opened.row_seconds, graph.most_rows(max_batch_rows), backend.device, graph)
    if opened.probe:
        warm_up(backend, opened.probe, run_rows or 1, settings.instances or 1)
    run_warm_ups(backend, opened.fitted, settings)  # at the end: the memory that these take stays
    return run_rows


def _padded(backend: Backend, fitted: Fitted, max_batch_rows: int) -> Backend:
    """On CUDA, the backend with batches of few sizes; a CPU takes each size as it comes."""
    most = fitted.graph.most_rows(max_batch_rows)
    return backend if backend.device.kind == "cpu" or most < 2 else PaddedBackend(backend, batch_sizes(most))


def _with_card_state(settings: ModelSettings, card: Card | None) -> ModelSettings:
    """The settings with the state that the card declares, which a configuration for other servers may repeat."""
    declared = card_sequence(card) if card else None
    if declared is None:
        return settings
    given = settings.sequence or SequenceSettings()
    if given.states and {state.input for state in given.states} != declared.inputs:
        names = ", ".join(sorted(declared.inputs))
        raise PackageError(f"sequence_batching.state names other inputs than the card, which declares {names}")
    return replace(settings, sequence=replace(given, states=given.states or declared.states))


def _check_card(card: Card, graph: Signature, fitted: Fitted) -> None:
    """The graph must be what the card's task says (see zoo.card), also as a configuration shows it."""
    signature = fitted.callers
    inputs, outputs = _contract(card.task)
    for kind, wanted, have in (("input", inputs, signature.inputs), ("output", outputs, signature.outputs)):
        found = {spec.name: f"{spec.datatype} of rank {len(spec.shape)}" for spec in have}
        for name, what in wanted.items():
            if found.get(name) != what:
                raise PackageError(
                    f"a graph for {card.task.kind} has an {kind} {name!r}, {what}; this one has {found or 'none'}"
                )
    if len(graph.inputs) != 1 + len(card.state) or graph.max_batch is not None or signature.max_batch == 0:
        text = "the graph must have one input, those of the card's state, and a free batch axis"
        raise PackageError(f"{text}; export it with a dynamic batch")


def _contract(task: Task) -> tuple[dict[str, str], dict[str, str]]:
    match task:
        case ImageTask():
            inputs = {IMAGE_INPUT: "UINT8 of rank 4"}
        case TextTask():
            inputs = {TEXT_INPUT: "BYTES of rank 1"}
        case SeriesTask():
            return {SERIES_INPUT: "FP32 of rank 3"}, {FORECAST: "FP32 of rank 3"}
    return inputs, {PROBABILITIES: "FP32 of rank 2", LOGITS: "FP32 of rank 2"}


def _checked_probe(card: Card, backend: Backend) -> Tensors | None:
    probe = _card_probe(card)
    _check_answer(card.task, backend.run(probe))
    return probe


def _card_probe(card: Card) -> Tensors:
    if card.golden.samples:
        return {name: value[:1] for name, value in golden_inputs(card).items()}
    match card.task:
        case ImageTask(resize=resize):
            return {IMAGE_INPUT: np.zeros((1, resize.height_px, resize.width_px, 3), np.uint8)}
        case TextTask():
            return {TEXT_INPUT: np.array(["probe"], object)}
        case SeriesTask(window_steps=window, features=features):
            return {SERIES_INPUT: np.ones((1, window, len(features)), np.float32), **zero_state(card)}


def _check_answer(task: Task, outputs: Tensors) -> None:
    name = FORECAST if isinstance(task, SeriesTask) else PROBABILITIES
    row = (task.horizon_steps, len(task.targets)) if isinstance(task, SeriesTask) else (len(task.labels),)
    if outputs[name].shape != (1, *row):
        raise PackageError(f"output {name!r} has shape {outputs[name].shape} where the card promises {(1, *row)}")
