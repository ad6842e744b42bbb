"""The processes that torchrun started for one training: which of them this is, and what they tell each other.

Without torchrun there is one, and nothing is asked of anybody.
"""

from __future__ import annotations

import os
from typing import TypeVar

Value = TypeVar("Value")


def process_count() -> int:
    """How many processes train together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """The number of this one, from 0."""
    return int(os.environ.get("RANK", "0")) if process_count() > 1 else 0


def processes_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this is the one that writes and tells."""
    return process_rank() == 0


def join_processes() -> None:
    """Wait until all are there; they then talk by gloo, and by NCCL about what is on GPUs."""
    import torch
    from torch import distributed

    if process_count() > 1 and not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def of_first_process(value: Value) -> Value:
    """What the first process has."""
    if process_count() == 1:
        return value
    from torch import distributed

    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def sum_over_processes(*values: float) -> list[float]:
    """The sum of each value over all processes."""
    if process_count() == 1:
        return list(values)
    import torch
    from torch import distributed

    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return [float(value) for value in sums]


def end_other_processes() -> None:
    """What follows is done once, by the first process; the others have done their part.

    Raises:
        SystemExit: in the others, with exit code 0.
    """
    if process_count() == 1:
        return
    from torch import distributed

    distributed.barrier()
    distributed.destroy_process_group()
    if not is_first_process():
        raise SystemExit(0)
