"""Fits what is set for a model to its graph: what the backend takes, and what callers send and see.

The two differ where the server keeps state or tells the graph facts about a sequence, where a configuration names fewer
outputs than there are, and where it gives a tensor another shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.backend.contract import Signature, Tensors, TensorSpec
from service.errors import SequenceError
from service.models.model_settings import Claim, Control, Fact, ModelSettings, SequenceSettings, State
from zoo.errors import PackageError


@dataclass(frozen=True)
class Fitted:
    """A graph as it is served."""

    graph: Signature
    """What the backend takes and gives."""
    callers: Signature
    """What callers send and see."""
    settled: bool
    """Whether the configuration says what the first axis is; otherwise that is still to be found out."""


def fit(graph: Signature, settings: ModelSettings) -> Fitted:
    """Check what is set against the graph.

    Raises:
        PackageError: the two contradict each other.
    """
    fitted, settled = _with_batch(graph, settings)
    batched = fitted.max_batch != 0
    sequence = settings.sequence or SequenceSettings()
    _check_sequence(fitted, sequence, batched=batched)
    inputs = [spec for spec in fitted.inputs if spec.name not in sequence.inputs]
    outputs = [spec for spec in fitted.outputs if spec.name not in sequence.outputs]
    claimed = _claimed("input", inputs, settings.inputs, batched=batched)
    names = {spec.name for spec in claimed}
    # Inputs that a configuration leaves out are needed all the same; outputs that it leaves out are not shown.
    callers = Signature(
        (*claimed, *(spec for spec in inputs if spec.name not in names)),
        tuple(_claimed("output", outputs, settings.outputs, batched=batched) or outputs),
        fitted.max_batch,
    )
    return Fitted(fitted, callers, settled)


def to_graph(settings: ModelSettings, tensors: Tensors, *, batched: bool) -> Tensors:
    """The inputs of callers in the shapes that the graph takes."""
    if not settings.inputs:
        return tensors
    shapes = {claim.name: claim.graph_dims for claim in settings.inputs if claim.graph_dims is not None}
    return _reshaped(tensors, shapes, batched=batched) if shapes else tensors


def to_callers(settings: ModelSettings, tensors: Tensors, *, batched: bool) -> Tensors:
    """The outputs of the graph in the shapes that callers see."""
    if not settings.outputs:
        return tensors
    shapes = {claim.name: claim.dims for claim in settings.outputs if claim.graph_dims is not None}
    return _reshaped(tensors, shapes, batched=batched) if shapes else tensors


def first_state(sequence: SequenceSettings, *, batched: bool) -> Tensors:
    """The state before the first step, by graph input, in new arrays; with a row axis where there is a batch."""
    return {state.input: state.first()[None] if batched else state.first() for state in sequence.states}


def facts(
    sequence: SequenceSettings, graph: Signature, *, key: object, start: bool = False, end: bool = False
) -> Tensors:
    """What the graph is told about a step, by graph input; one row.

    Raises:
        SequenceError: the graph takes the id as a number, and this one is none.
    """
    values: dict[Fact, bool] = {Fact.START: start, Fact.READY: True, Fact.END: end}
    tensors: Tensors = {}
    for control in sequence.controls:
        spec = graph.input(control.input)
        assert spec is not None, "fit checked this"
        shape = [1 if axis < 0 else axis for axis in spec.shape]
        if control.fact is Fact.ID:
            tensors[control.input] = np.full(shape, _id_value(control, spec, key), spec.dtype)
        else:
            tensors[control.input] = np.full(shape, control.true if values[control.fact] else control.false, spec.dtype)
    return tensors


def first_step(fitted: Fitted, settings: ModelSettings, rows: int = 1) -> Tensors:
    """What the server adds to the first steps of as many sequences: state and facts; nothing for other models."""
    if settings.sequence is None:
        return {}
    batched = fitted.graph.max_batch != 0
    added = first_state(settings.sequence, batched=batched) | facts(settings.sequence, fitted.graph, key=1, start=True)
    return {name: np.repeat(value, rows, axis=0) if batched else value for name, value in added.items()}


def _id_value(control: Control, spec: TensorSpec, key: object) -> np.generic | str:
    """The id as the graph takes it; of a number, as many low bits as there is room for."""
    if control.datatype == "BYTES":
        return str(key)
    if not isinstance(key, int):
        text = f"sequence id {key!r} is no integer, but the model takes it as {control.datatype}; send an integer"
        raise SequenceError("parameters[sequence_id]", text)
    bits = 8 * spec.dtype.itemsize
    low = np.array([key % 2**bits], np.uint64).astype(f"<u{bits // 8}").view(spec.dtype)[0]
    assert isinstance(low, np.generic), "an element of an array"
    return low


def _with_batch(graph: Signature, settings: ModelSettings) -> tuple[Signature, bool]:
    """The graph with the batch axis that is set, and whether that settles it."""
    if rows := settings.max_batch_rows:
        for spec in (*graph.inputs, *_shown(graph, settings)):
            free = (-1, 1) if rows == 1 else (-1,)
            if not spec.shape or spec.shape[0] not in free or graph.max_batch == 1 < rows:
                raise PackageError(
                    f"max_batch_size is {rows}, but {spec.name!r} of the graph has no free first axis; "
                    "export it with one, or set max_batch_size: 0"
                )
        return _with_first_axis(graph, -1, rows), True
    ranks = {_rank_beyond(claim, graph.input(claim.name)) for claim in settings.inputs} - {None}
    if settings.sequence and settings.source:
        states = settings.sequence.states
        ranks |= {_rank_beyond(Claim("", "", state.shape), graph.input(state.input)) for state in states} - {None}
    if not ranks:
        return graph, False
    if ranks == {0}:
        return (_with_first_axis(graph, 1, 0) if graph.max_batch == 1 else replace(graph, max_batch=0)), True
    if ranks == {1} and graph.max_batch != 0:
        return graph, False
    raise PackageError("without max_batch_size, dims must be the graph's whole shapes")


def _shown(graph: Signature, settings: ModelSettings) -> list[TensorSpec]:
    """The outputs that matter: of a configuration that names some, those and the state."""
    names = {claim.name for claim in settings.outputs}
    states = settings.sequence.outputs if settings.sequence else frozenset()
    return [spec for spec in graph.outputs if not names or spec.name in names | states]


def _rank_beyond(claim: Claim, spec: TensorSpec | None) -> int | None:
    """How many axes the graph has that the configuration does not say."""
    dims = claim.dims if claim.graph_dims is None else claim.graph_dims
    return len(spec.shape) - len(dims) if spec and (dims or claim.graph_dims is not None) else None


def _with_first_axis(graph: Signature, size: int, max_batch: int) -> Signature:
    def change(spec: TensorSpec) -> TensorSpec:
        return replace(spec, shape=(size, *spec.shape[1:])) if spec.shape else spec

    return Signature(tuple(map(change, graph.inputs)), tuple(map(change, graph.outputs)), max_batch)


def _claimed(
    kind: str, specs: Sequence[TensorSpec], claims: Sequence[Claim], *, batched: bool
) -> tuple[TensorSpec, ...]:
    """The tensors that a configuration names, as callers see them."""
    known = {spec.name: spec for spec in specs}
    taken: list[TensorSpec] = []
    for index, claim in enumerate(claims):
        field = f"{kind}[{index}]"
        if claim.name not in known:
            raise PackageError(f"{field}: callers have no {kind} {claim.name!r}; they have {', '.join(known)}")
        if claim.name in {spec.name for spec in taken}:
            raise PackageError(f"{field}: {kind} {claim.name!r} is there twice")
        taken.append(_claim(field, known[claim.name], claim, batched=batched))
    return tuple(taken)


def _claim(field: str, spec: TensorSpec, claim: Claim, *, batched: bool) -> TensorSpec:
    if claim.datatype not in ("", spec.datatype):
        raise PackageError(f"{field}: {claim.name!r} is {claim.datatype}, but the graph has {spec.datatype}")
    own = spec.shape[1:] if batched else spec.shape
    wanted = claim.dims if claim.graph_dims is None else claim.graph_dims
    if not claim.dims and claim.graph_dims is None:
        return spec
    if len(own) != len(wanted) or any(mine not in (-1, axis) for mine, axis in zip(own, wanted, strict=True)):
        text = f"{field}: {claim.name!r} has shape {list(wanted)}, but the graph {list(own)}"
        raise PackageError(f"{text}, the batch axis left out" if batched else text)
    if claim.graph_dims is not None and _size(claim.dims) != _size(claim.graph_dims):
        raise PackageError(f"{field}: {list(claim.dims)} cannot be reshaped to {list(claim.graph_dims)}")
    return replace(spec, shape=(-1, *claim.dims) if batched else claim.dims)


def _size(dims: Sequence[int]) -> tuple[int, int]:
    """Values of the fixed axes, and how many axes are free."""
    return math.prod(axis for axis in dims if axis > 0), sum(axis < 0 for axis in dims)


def _check_sequence(graph: Signature, sequence: SequenceSettings, *, batched: bool) -> None:
    for state in sequence.states:
        for kind, name, spec in (
            ("input", state.input, graph.input(state.input)),
            ("output", state.output, graph.output(state.output)),
        ):
            _check_state(state, f"state {kind} {name!r}", spec, batched=batched)
    for control in sequence.controls:
        spec = graph.input(control.input)
        if spec is None or spec.datatype != control.datatype:
            found = f"is {spec.datatype} in the graph" if spec else "is no input of the graph"
            raise PackageError(f"control input {control.input!r} is {control.datatype}, but {found}")
    names = [state.input for state in sequence.states] + [control.input for control in sequence.controls]
    if len(set(names)) < len(names):
        raise PackageError(f"the inputs of a sequence, {', '.join(names)}, must differ from each other")


def _check_state(state: State, what: str, spec: TensorSpec | None, *, batched: bool) -> None:
    if spec is None:
        raise PackageError(f"{what} is not in the graph")
    own = spec.shape[1:] if batched else spec.shape
    fits = len(own) == len(state.shape) and all(
        -1 in (mine, axis) or mine == axis for mine, axis in zip(own, state.shape, strict=True)
    )
    if spec.datatype != state.datatype or not fits:
        raise PackageError(
            f"{what} is {state.datatype} of shape {list(state.shape)}, but the graph has {spec.datatype} {list(own)}"
        )


def _reshaped(tensors: Tensors, shapes: dict[str, tuple[int, ...]], *, batched: bool) -> Tensors:
    return {
        name: value.reshape((len(value), *shapes[name]) if batched else shapes[name]) if name in shapes else value
        for name, value in tensors.items()
    }
