"""Looks again and again at what the repositories hold, and has the table follow.

A change counts when two looks in a row, at least `SETTLE_SECONDS` apart or a whole `poll_seconds` if that is less, saw
the same files of the same size and time: a file that is still being written is left alone. (One that pauses for longer
than that is refused as incomplete when it is opened, and looked at again when it changes.)

What fails to load is tried again after growing pauses, though its files are still the same: memory may be free again, a
disk may answer again. The log says so once for each reason.

A repository that cannot be read, or that became another, empty folder, as the mount point of a volume that went away
does, changes nothing: what was loaded serves on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from service.models.catalog import ModelFolder, identity
from service.models.model_table import ModelTable
from service.telemetry.metrics import Metrics
from zoo.errors import RepositoryError

log = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""How long files must have stayed as they are."""


MAX_PAUSE_SECONDS = 300.0
"""The longest pause between two attempts to load the same files; the first is one look, then each is twice as long."""


class Retries:
    """When to try again what failed."""

    def __init__(self, first_pause_seconds: float, *, clock: Callable[[], float] = monotonic) -> None:
        self._first = first_pause_seconds
        self._clock = clock
        self._due: dict[str, tuple[float, float]] = {}
        """Name to (time of the next attempt, pause after it)."""

    def failed(self, name: str) -> None:
        """It failed, for the first time or again."""
        _, pause = self._due.get(name, (0.0, self._first))
        self._due[name] = self._clock() + pause, min(2 * pause, max(MAX_PAUSE_SECONDS, self._first))

    def forget(self, name: str) -> None:
        """It works, has changed, or is gone: the next failure is the first one."""
        self._due.pop(name, None)

    def due(self) -> list[str]:
        """What should be tried now."""
        now = self._clock()
        return [name for name, (time, _) in self._due.items() if time <= now]


class Poller:
    """Keeps a table up to date with its repositories."""

    def __init__(
        self, table: ModelTable, metrics: Metrics, repositories: Sequence[Path], applied: Mapping[str, ModelFolder]
    ) -> None:
        """`applied` is what the table has loaded already, or tried to.

        Raises:
            RepositoryError: a repository cannot be read.
        """
        self._table = table
        self._metrics = metrics
        self._identities = {repository: identity(repository) for repository in repositories}
        self._applied = dict(applied)
        self._retries = Retries(SETTLE_SECONDS)
        self._seen: dict[str, ModelFolder | None] = {}
        self._complaint = ""

    async def run(self, poll_seconds: float) -> None:
        """Look every `poll_seconds`, and soon again while something is changing; never returns."""
        self._retries = Retries(poll_seconds)
        for name in self._applied:
            self._judge(name)
        changing = False
        while True:
            await asyncio.sleep(min(SETTLE_SECONDS, poll_seconds) if changing else poll_seconds)
            try:
                changing = await self.look_again()
            except Exception:  # the server must not stop following its repositories over one look
                log.exception("a look at the repositories failed. This is a bug.")

    async def look_again(self) -> bool:
        """Look once, and load and remove what has settled; whether something else is still changing."""
        try:
            folders = await asyncio.to_thread(self._look)
        except RepositoryError as exc:
            self._complain(str(exc))
            return False
        self._complain("")
        changed = {
            name: folders.get(name)
            for name in {*folders, *self._applied}
            if folders.get(name) != self._applied.get(name)
        }
        settled = {
            name: folder for name, folder in changed.items() if name in self._seen and self._seen[name] == folder
        }
        self._seen = {name: folder for name, folder in changed.items() if name not in settled}
        again = [name for name in self._retries.due() if name not in changed]
        await asyncio.gather(
            *(self._apply(name, folder) for name, folder in settled.items()), *(self._try_again(name) for name in again)
        )
        return bool(self._seen)

    async def _apply(self, name: str, folder: ModelFolder | None) -> None:
        self._retries.forget(name)
        if folder:
            self._applied[name] = folder
            await self._table.update(folder)
            self._judge(name)
        else:
            del self._applied[name]
            await self._table.remove(name)

    async def _try_again(self, name: str) -> None:
        await self._table.update(self._applied[name], retry=True)
        self._judge(name)

    def _judge(self, name: str) -> None:
        if self._table.serves(self._applied[name]):
            self._retries.forget(name)
        else:
            self._retries.failed(name)

    def _look(self) -> dict[str, ModelFolder]:
        folders = self._table.look(list(self._identities))
        for repository, known in self._identities.items():
            now = identity(repository)
            if now == known:
                continue
            if not any(folder.repository == repository for folder in folders.values()):
                raise RepositoryError(f"{repository} is another folder than before, and empty; is a volume missing?")
            self._identities[repository] = now
        return folders

    def _complain(self, problem: str) -> None:
        """Log what is wrong once, and that it is over."""
        if problem:
            self._metrics.poll_failures.inc()
        if problem and problem != self._complaint:
            log.error("%s; what is loaded serves on", problem)
        elif self._complaint and not problem:
            log.info("the repositories can be read again")
        self._complaint = problem
