"""Whether the server answers, found out by asking its models."""

from __future__ import annotations

import asyncio

from service.entry import Entry
from service.model_table import ModelTable


class Readiness:
    """Answers "is it serving?" for the health service and the tensor API alike.

    The server serves when the first load has ended, it is not shutting down, and at least one model answers: one broken
    model must not take the others out of service.
    """

    def __init__(self, table: ModelTable) -> None:
        self._table = table
        self._draining = False
        self.changed = asyncio.Event()
        """Set when the answer may have changed; whoever waits for it replaces it."""

    @property
    def draining(self) -> bool:
        """Whether the server is shutting down."""
        return self._draining

    def drain(self) -> None:
        """From now on the answer is no."""
        self._draining = True
        self.notify()

    def notify(self) -> None:
        """Wake those who watch."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def serving(self) -> bool:
        """Whether a request would be answered."""
        if self._draining or not self._table.loaded:
            return False
        models = self._table.ready()
        answers = await asyncio.gather(*(model.works() for model in models))
        return any(answers) and not self._draining

    async def answers(self, entry: Entry) -> bool:
        """Whether one version answers."""
        return entry.model is not None and not self._draining and await entry.model.works()
