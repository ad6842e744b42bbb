"""What is set for one model, by its card or by a configuration beside its versions; plain values, no protocol.

Without a configuration everything is taken from the file: `ModelSettings()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.backend.contract import DTYPES, Tensors
from zoo.card import Card

_DATATYPES = {dtype.name: name for name, dtype in DTYPES.items()}


class Fact(Enum):
    """A fact about the sequence that a graph can take as an input."""

    START = "start"
    READY = "ready"
    END = "end"
    ID = "id"


@dataclass(frozen=True)
class Control:
    """A graph input that takes a fact about the sequence."""

    input: str
    fact: Fact
    datatype: str
    false: float = 0
    true: float = 1


@dataclass(frozen=True)
class State:
    """A tensor that goes from a graph output of one step to a graph input of the next."""

    input: str
    output: str
    datatype: str
    shape: tuple[int, ...]
    """As the configuration says it, without the batch axis where the model has one; -1: it may change."""
    initial: NDArray[np.generic] | None = None
    """Before the first step; None: zeros."""

    def first(self) -> NDArray[np.generic]:
        """The state before the first step, as a new array; an axis that may change begins with size 1."""
        if self.initial is not None:
            return self.initial.copy()
        shape = [max(axis, 1) for axis in self.shape]
        dtype = DTYPES[self.datatype]
        return np.full(shape, "", object) if dtype.kind == "O" else np.zeros(shape, dtype)


@dataclass(frozen=True)
class SequenceSettings:
    """How the requests of a sequence belong together."""

    states: tuple[State, ...] = ()
    controls: tuple[Control, ...] = ()
    idle_seconds: float | None = None
    """None: as the server has it."""

    @property
    def inputs(self) -> frozenset[str]:
        """Graph inputs that no caller sends."""
        return frozenset(state.input for state in self.states) | {control.input for control in self.controls}

    @property
    def outputs(self) -> frozenset[str]:
        """Graph outputs that no caller sees."""
        return frozenset(state.output for state in self.states)


@dataclass(frozen=True)
class QueuePolicy:
    """What happens to requests that wait."""

    timeout_seconds: float | None = None
    """Of a request that names none; None: it may wait for ever."""
    allow_timeout_override: bool = False
    """Whether a request may shorten it."""
    max_requests: int | None = None
    """Requests that may wait; None: as many as the server's limit of rows lets in."""

    def timeout(self, wanted: float | None) -> float | None:
        """The seconds that a request may take which asks for so many; None: no limit."""
        if not self.allow_timeout_override or wanted is None:
            return self.timeout_seconds
        return wanted if self.timeout_seconds is None else min(wanted, self.timeout_seconds)


@dataclass(frozen=True)
class Priorities:
    """Levels of priority, 1 the highest."""

    levels: int
    default: int
    policies: Mapping[int, QueuePolicy] = field(default_factory=dict)

    def level(self, wanted: int) -> int:
        """The level of a request that asks for this one; 0 and levels that there are not mean the default."""
        return wanted if 1 <= wanted <= self.levels else self.default


@dataclass(frozen=True)
class WarmUp:
    """A request to run before the model serves."""

    name: str
    inputs: Tensors
    count: int


@dataclass(frozen=True)
class Claim:
    """What a configuration says about an input or output."""

    name: str
    datatype: str = ""
    """Empty: nothing is said."""
    dims: tuple[int, ...] = ()
    """Without the batch axis, -1 for a free one; empty: nothing is said."""
    graph_dims: tuple[int, ...] | None = None
    """The graph's shape, where it differs from what callers send and see."""
    image: str = ""
    """Meaning of the axes of an image, "NHWC" or "NCHW"; empty: none in particular."""


class Placement(Enum):
    """Where a model must run."""

    ANY = "KIND_AUTO"
    CPU = "KIND_CPU"
    GPU = "KIND_GPU"


@dataclass(frozen=True)
class ModelSettings:
    """Everything that is set for one model."""

    max_batch_rows: int | None = None
    """Rows of a request and of a run; 0: there is no batch axis; None: as the file and the server have it."""
    inputs: tuple[Claim, ...] = ()
    """What is said about inputs; empty: nothing."""
    outputs: tuple[Claim, ...] = ()
    """The same for outputs; where there are some, only those can be asked for."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Class names by output."""
    max_delay_seconds: float | None = None
    """How long a request may wait for company; None: as the server has it."""
    queue: QueuePolicy | None = None
    """Of requests whose priority has no policy of its own; None: none is set."""
    priorities: Priorities | None = None
    sequence: SequenceSettings | None = None
    instances: int | None = None
    """Runs that may be under way at a time; None: as the server has it."""
    threads: int | None = None
    """Cores that one run may use; None: its share of the server's, or one for a small model."""
    placement: Placement = Placement.ANY
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs that it may run on; empty: any."""
    gpu_memory_bytes: int | None = None
    """The most that the model takes of a GPU's memory; None: as the server has it."""
    cuda_graphs: bool = False
    """Whether its runs on a GPU are recorded and replayed, also where the server's are not."""
    warm_ups: tuple[WarmUp, ...] = ()
    notes: tuple[str, ...] = ()
    """What was read and does not matter here, one sentence each, for the log."""
    source: bytes = b""
    """The configuration as it was read (a serialised inference.ModelConfig), for those who ask for it."""

    def policy(self, priority: int) -> QueuePolicy | None:
        """The queue policy of a level of priority."""
        own = self.priorities.policies.get(priority) if self.priorities else None
        return own or self.queue


DEFAULTS = ModelSettings()

ReadModelSettings = Callable[[Path, str], ModelSettings]
"""Reads what is set for the model of a folder, changed by a text in JSON; raises PackageError."""


def card_sequence(card: Card) -> SequenceSettings | None:
    """The state that a card declares."""
    if not card.state:
        return None
    return SequenceSettings(
        tuple(State(part.input, part.output, _DATATYPES[part.dtype], part.shape) for part in card.state)
    )
