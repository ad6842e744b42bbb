"""How the runs of a model share the cores of the machine, and the rows that wait."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from service.batching.rules import BatchRules
from service.models.loading import LoadedModel
from service.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What a `Batcher` is told, and what its runs need."""

    rules: BatchRules
    threads: int
    """That runs are called in: so many are under way at a time under full load."""
    cores: int
    """That each of these has then."""


def make_plan(loaded: LoadedModel, settings: Settings) -> Plan:
    """Plan the runs of a model; what is set for it goes before what is set for the server.

    - A small model has a core for each run, and what the other cores do are full batches: those cost it less for a row.
    - Of pictures a run beside another takes one core, and batches are small: the rest is for the run beside it.
    - Any other model, and a GPU, does one batch after the other, of all that waits.

    Args:
        loaded: the model.
        settings: of the server.
    """
    runs = loaded.settings.instances or settings.instances
    delay = loaded.settings.max_delay_seconds
    if delay is None:
        delay = settings.max_delay_ms / 1e3
    rules = BatchRules(max_rows=loaded.run_rows, runs=runs, max_delay_seconds=delay)
    if math.isfinite(loaded.row_seconds):
        rules = replace(rules, row_seconds=loaded.row_seconds)
    if loaded.frugal and rules.max_rows:
        spare = max(settings.compute_threads - runs, 0)
        # One full batch more lies ready for the thread that ends first: the loop may be busy then.
        return Plan(replace(rules, spare_runs=spare + 1 if spare else 0), runs + spare, cores=1)
    if loaded.takes_pictures:
        runs += loaded.threads - 1
        return Plan(replace(rules, runs=runs, side_by_side=runs > 1), runs, cores=1)
    return Plan(rules, runs, loaded.threads)
