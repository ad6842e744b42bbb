"""Whether a model answers: by a run that ended a moment ago, or else by a probe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from service.errors import DeadlineExpiredError, QueueFullError, ServiceError

PROBE_SECONDS = 3.0
"""A probe that takes longer than this has failed, if the model was not busy with others."""
FRESH_SECONDS = 1.0
"""A run that ended no longer ago than this proves as much as a probe; longer for a slow model."""
BUSY_SECONDS = 10.0
"""A model that has no time for a probe, as others are there, works if a run ended no longer ago than this."""

Probe = Callable[[float], Awaitable[object]]
"""Runs the model on inputs that it is known to answer, until a time of the event loop; raises ServiceError."""


class Pulse:
    """That of one version of a model. Belongs to one event loop."""

    def __init__(self, probe: Probe | None) -> None:
        """No run has ended yet; without a probe the model is believed to work."""
        self._probe = probe
        self._last_success = float("-inf")
        self._fresh_seconds = FRESH_SECONDS

    def beat(self) -> None:
        """A run has succeeded."""
        self._last_success = asyncio.get_running_loop().time()

    async def is_there(self) -> bool:
        """Whether the model answers."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        if self._probe is None or start - self._last_success < self._fresh_seconds:
            return True
        try:
            await self._probe(start + PROBE_SECONDS)
        except (QueueFullError, DeadlineExpiredError):
            return start - self._last_success < BUSY_SECONDS
        except ServiceError:
            return False
        # Probing a slow model takes a twentieth of its time at most.
        self._fresh_seconds = max(FRESH_SECONDS, 20 * (loop.time() - start))
        return True
