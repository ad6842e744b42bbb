"""How the runs of a model share the cores of the machine, and the rows that wait."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from service.batching.rules import BatchRules
from service.models.loading import LoadedModel


@dataclass(frozen=True)
class Plan:
    """What a `Batcher` is told, and what its runs need."""

    rules: BatchRules
    threads: int
    """That runs are called in."""


def make_plan(loaded: LoadedModel, *, runs: int, cores: int, delay_seconds: float) -> Plan:
    """Plan the runs of a model.

    - A small model has a core for each run, and what the other cores do are full batches: those cost it less for a row.
    - Of pictures a run beside another takes one core, and batches are small: the rest is for the run beside it.
    - Any other model, and a GPU, does one batch after the other, of all that waits.

    Args:
        loaded: the model.
        runs: at a time, as an operator set it.
        cores: for all runs.
        delay_seconds: how long requests wait for others to share their batch, as an operator set it.
    """
    rules = BatchRules(max_rows=loaded.run_rows, runs=runs, max_delay_seconds=delay_seconds)
    if math.isfinite(loaded.row_seconds):
        rules = replace(rules, row_seconds=loaded.row_seconds)
    if loaded.frugal and rules.max_rows:
        spare = max(cores - runs, 0)
        # One full batch more lies ready for the thread that ends first: the loop may be busy then.
        return Plan(replace(rules, spare_runs=spare + 1 if spare else 0), runs + spare)
    if loaded.takes_pictures:
        runs += loaded.threads - 1
        return Plan(replace(rules, runs=runs, side_by_side=runs > 1), runs)
    return Plan(rules, runs)
