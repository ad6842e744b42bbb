"""Whether the server answers, found out by asking its models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from service.models.entry import Entry
from service.models.model_table import ModelTable


class Readiness:
    """Answers "is it serving?" for the health service and the tensor API alike.

    The server serves when the first load has ended, it is not shutting down, and at least one model answers: one broken
    model must not take the others out of service.
    """

    def __init__(self, table: ModelTable) -> None:
        self._table = table
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.stopping = asyncio.Event()
        """Set when the server begins to shut down."""
        self.changed = asyncio.Event()
        """Set when the answer may have changed; whoever waits for it replaces it."""

    @property
    def draining(self) -> bool:
        """Whether the server is shutting down."""
        return self.stopping.is_set()

    def drain(self) -> None:
        """From now on the answer is no."""
        self.stopping.set()
        self.notify()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A request is being answered; a server that shuts down waits for it."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def wait_idle(self, timeout_seconds: float) -> bool:
        """Wait until no request is being answered; an open stream without one does not count. False: there still is
        one."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def notify(self) -> None:
        """Wake those who watch."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def serving(self) -> bool:
        """Whether a request would be answered."""
        if self.draining or not self._table.loaded:
            return False
        models = self._table.ready()
        answers = await asyncio.gather(*(model.works() for model in models))
        return any(answers) and not self.draining

    async def answers(self, entry: Entry) -> bool:
        """Whether one version answers."""
        return entry.model is not None and not self.draining and await entry.model.works()
