"""A disk that is full while a training writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import FitError


@contextmanager
def told_to_make_room(path: Path) -> Iterator[None]:
    """Within, a file that cannot be written is an error with the way out.

    Raises:
        FitError: it cannot.
    """
    try:
        yield
    except (OSError, RuntimeError) as exc:  # torch's writer tells of a full disk by a RuntimeError
        raise FitError(
            f"{path} cannot be written ({str(exc).partition(chr(10))[0]}); what was written before is whole: make room "
            "and go on with --resume and the folder of the run"
        ) from exc
