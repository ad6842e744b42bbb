"""What a model that was replaced stays for: sequences that began on it, and streams of forecasts that are open."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import suppress

from service.models.sequences import SequenceStore


class Conversations:
    """Those of one version of a model. Belongs to one event loop."""

    def __init__(self, sequences: SequenceStore | None) -> None:
        """Begin without any; `sequences` are those whose state is kept, None where the model has no state."""
        self._sequences = sequences
        self._streams: set[object] = set()
        self._no_streams = asyncio.Event()
        self._no_streams.set()
        self.given_up = False
        """Whether the model could not stay any longer: nothing goes on."""

    def __bool__(self) -> bool:
        return bool(self._streams) or (self._sequences is not None and len(self._sequences) > 0)

    def open(self, stream: object) -> None:
        """A stream begins; its steps have the stream itself as their id."""
        self._streams.add(stream)
        self._no_streams.clear()

    def close(self, stream: object) -> None:
        """It has ended: its state goes, if it has one."""
        self.forget(stream)
        self._streams.discard(stream)
        if not self._streams:
            self._no_streams.set()

    def has(self, key: Hashable, *, any_version: bool = False) -> bool:
        """Whether a sequence is alive here; with `any_version` only one that began without a version's name counts."""
        return self._sequences is not None and self._sequences.has(key, any_version=any_version)

    def forget(self, key: Hashable) -> None:
        """Drop the state of a sequence, if there is one."""
        if self._sequences is not None:
            self._sequences.forget(key)

    async def finish(self, timeout_seconds: float) -> list[Hashable]:
        """Wait until all have ended, and give up those that last longer.

        Returns:
            The ids of the sequences that were given up, those of streams left out.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self:
                    await self._no_streams.wait()
                    if self._sequences is not None:
                        await self._sequences.ended()
        self.given_up = True
        lost = self._sequences.abandon() if self._sequences is not None else []
        return [key for key in lost if key not in self._streams]
