"""The phases of the RPC that is being answered, for its span."""

from __future__ import annotations

from contextvars import ContextVar

MAX_PHASES = 64
"""Phases that are kept of one RPC: a stream may have any number of requests."""
Phase = tuple[str, float, float]
"""A part of an RPC: name, start, end, by the clock of `perf_counter`."""
_trace: ContextVar[list[Phase] | None] = ContextVar("trace", default=None)


def traced_phases() -> list[Phase]:
    """A list to which the phases of this RPC are added from now on."""
    phases: list[Phase] = []
    _trace.set(phases)
    return phases


def add_phases(*phases: Phase) -> None:
    """Parts of the RPC that is being answered, if anybody wants to know."""
    trace = _trace.get()
    if trace is not None and len(trace) < MAX_PHASES:
        trace += phases
