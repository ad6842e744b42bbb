"""How the batches of a model are cut."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchRules:
    """How large batches are, how many are run at a time, and what is waited for."""

    max_rows: int
    """Of a run; 0: the model has no batch axis, every request is a run of its own and counts as one row."""
    runs: int = 1
    """That may be under way at a time."""
    spare_runs: int = 0
    """That may be under way beside those, of full batches only."""
    row_seconds: float = 0.01
    """What a row takes of a run that has the backend for itself, as far as one knows before the first run."""
    side_by_side: bool = False
    """Whether runs slow each other down, and small batches are as good as large ones. Where too few rows wait for full
    batches in all runs, a batch takes half of its even share: the rest is for the runs beside it. And a row that comes
    when a lone run is nearly over waits for its end."""
    max_delay_seconds: float = 0.0
    """How long the first request of a batch may wait for more, while the backend is free."""

    def __post_init__(self) -> None:
        assert self.max_rows >= 0, "the settings check this"
        assert self.row_seconds > 0, "no run takes no time"
