"""Whether the server answers, found out by asking its models."""

from __future__ import annotations

import asyncio

from service.models.entry import Entry
from service.models.model_table import ModelTable


class _InFlight:
    """How many requests are being answered: entered once for each."""

    def __init__(self) -> None:
        self._requests = 0
        self.none = asyncio.Event()
        """Set while there is none."""
        self.none.set()

    def __enter__(self) -> None:
        self._requests += 1
        self.none.clear()

    def __exit__(self, *error: object) -> None:
        self._requests -= 1
        if not self._requests:
            self.none.set()


class Readiness:
    """Answers "is it serving?" for the health service and the tensor API alike.

    The server serves when the first load has ended, it is not shutting down, and at least one model answers: one broken
    model must not take the others out of service.
    """

    def __init__(self, table: ModelTable) -> None:
        self._table = table
        self._in_flight = _InFlight()
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

    def answering(self) -> _InFlight:
        """`with` this a request is being answered; a server that shuts down waits for it."""
        return self._in_flight

    async def wait_idle(self, timeout_seconds: float) -> bool:
        """Wait until no request is being answered; an open stream without one does not count. False: there still is
        one."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._in_flight.none.wait()
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
