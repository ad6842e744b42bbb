"""The models of a server: the state of every version, and how they come and go.

A version is loaded aside: opened, checked and warmed up in threads while the one before goes on serving. It takes over
in one step, between two requests; the one before finishes what it has and gives its memory back. Where a load fails,
the one before just stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from service.errors import (
    ControlError,
    InferenceError,
    LoadError,
    ModelNotFoundError,
    ServiceError,
)
from service.memory import trim
from service.models.catalog import Found, ModelFolder, ScanRepository, look, stamp
from service.models.entry import Entry, IndexRow, State
from service.models.lookup import ModelLookup
from service.models.served_model import ServedModel
from service.telemetry.metrics import Metrics
from zoo.errors import RepositoryError, ZooError
from zoo.repository import ModelVersion, scan

log = logging.getLogger(__name__)

StartModel = Callable[[ModelVersion, str], Awaitable[ServedModel]]
"""Loads a version, with a configuration as JSON or "", and starts to serve it; raises ZooError or ServiceError where it
cannot."""


class ModelTable(ModelLookup):
    """All versions of all models. Belongs to one event loop."""

    def __init__(
        self,
        start_model: StartModel,
        metrics: Metrics,
        repositories: Sequence[Path],
        *,
        control_mode: str = "none",
        sequence_seconds: float = 0.0,
        scan: ScanRepository = scan,
    ) -> None:
        """An empty table.

        Args:
            start_model: loads a version.
            metrics: counts what happens.
            repositories: where versions are found.
            control_mode: "none", "poll" or "explicit"; only the last one lets callers load and unload.
            sequence_seconds: how long a model that is replaced or unloaded stays for the sequences that began on it.
            scan: lists the versions of a repository.
        """
        super().__init__()
        self._start_model = start_model
        self._metrics = metrics
        self._repositories = tuple(repositories)
        self._control_mode = control_mode
        self._scan = scan
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._jobs: set[asyncio.Task[Any]] = set()
        self._sequence_seconds = sequence_seconds
        self.loaded = False
        """Whether the first load has ended."""

    async def index(self) -> list[IndexRow]:
        """All versions that the table knows, and the models of the repositories that were never asked for."""
        rows = [
            IndexRow(entry.name, entry.version, _INDEX_STATES.get(entry.state, "UNAVAILABLE"), entry.reason)
            for entry in self.entries()
        ]
        folders: Iterable[str] = ()
        with suppress(RepositoryError):  # what is loaded serves on without its repository
            folders = await asyncio.to_thread(self.look, self._repositories)
        return rows + [IndexRow(name) for name in sorted(folders) if name not in self._entries]

    def look(self, repositories: Sequence[Path]) -> dict[str, ModelFolder]:
        """What these repositories hold now; see `catalog.look`."""
        return look(repositories, self._scan)

    def discover(self, names: Sequence[str] | None = None) -> dict[str, ModelFolder]:
        """Enter what the repositories hold as LOADING; `load_found` does load it.

        Args:
            names: the models to take; None: all.

        Raises:
            RepositoryError: a repository cannot be read, or has no model of a name.
        """
        folders = self.look(self._repositories)
        for name in names or ():
            if name not in folders:
                raise RepositoryError(f"no model {name!r} to load; there is {', '.join(sorted(folders)) or 'none'}")
        taken = {name: folder for name, folder in folders.items() if names is None or name in names}
        for folder in taken.values():
            self._enter(folder)
        return taken

    async def load_found(self, folders: dict[str, ModelFolder]) -> None:
        """Load what `discover` gave, side by side. What cannot be loaded is FAILED, with the reason."""
        await asyncio.gather(*(self.update(folder) for folder in folders.values()))
        self.loaded = True

    async def load(self, name: str, config: str = "") -> None:
        """Load a model, or bring it up to date with its repository; a client that leaves does not stop it.

        Args:
            name: of the model.
            config: a configuration as JSON that counts instead of the repository's, until the next load.

        Raises:
            ControlError: the control mode is not explicit.
            LoadError: there is no such model, or a version cannot be loaded; what served before serves on.
        """
        self._check_control()
        await self._uninterrupted(self._load(name, config))

    async def unload(self, name: str) -> None:
        """Refuse new requests to all versions of a model, finish those it has, and give its memory back.

        Sequences that are alive go on for a while; their model goes when they have ended, which is not waited for.

        Raises:
            ControlError: the control mode is not explicit.
            ModelNotFoundError: no model of that name was ever loaded.
        """
        self._check_control()
        await self._uninterrupted(self._unload(name))

    async def update(self, folder: ModelFolder, config: str = "", *, retry: bool = False) -> bool:
        """Make a model what its folder holds: load what is new or changed, then let go of what is not there any more.

        Args:
            folder: as `look` gave it.
            config: as for `load`.
            retry: also try again what failed before, though its files are still the same.

        Returns:
            Whether everything in the folder serves.
        """
        async with self._locks[folder.name]:
            self._enter(folder)
            entries = self._entries[folder.name]
            jobs = [
                self._start(entries[number], found, config)
                for number, found in folder.versions.items()
                if _is_due(entries[number], found, config, retry=retry)
            ]
            loaded = await asyncio.gather(*jobs)
            complete = not folder.problems and all(entries[number].model for number in folder.versions)
            for number in set(entries) - set(folder.versions) - set(folder.problems):
                if entries[number].state is State.UNLOADING:
                    continue
                # A version that another one is to replace stays until that one serves.
                if complete or not _is_on_disk(entries[number]):
                    self._job(self._remove(entries[number]))  # how long its requests take is nothing to wait for
            return all(loaded) and not folder.problems

    def serves(self, folder: ModelFolder) -> bool:
        """Whether everything in a folder serves, from the files that are there."""
        entries = self._entries.get(folder.name, {})
        loaded = all(number in entries and not entries[number].reason for number in folder.versions)
        return loaded and not folder.problems

    async def remove(self, name: str) -> None:
        """Let go of a model that its repository does not hold any more."""
        async with self._locks[name]:
            for entry in self.versions(name):
                if entry.state is not State.UNLOADING:
                    self._job(self._remove(entry))

    async def close(self, timeout_seconds: float) -> None:
        """Close every model, those that are being retired included."""
        jobs, models = list(self._jobs), {*self.ready(), *self._former}
        for job in jobs:
            job.cancel()
        await asyncio.gather(*(model.close(timeout_seconds) for model in models))
        await asyncio.gather(*jobs, return_exceptions=True)
        for entry in self.entries():
            self._metrics.for_model(entry.name, entry.version).removed()
        self._entries.clear()

    def _check_control(self) -> None:
        if self._control_mode != "explicit":
            raise ControlError(self._control_mode)

    async def _load(self, name: str, config: str) -> None:
        try:
            folder = (await asyncio.to_thread(self.look, self._repositories)).get(name)
        except RepositoryError as exc:
            raise LoadError(name) from exc
        if folder is None or not await self.update(folder, config, retry=True):
            raise LoadError(name)

    async def _unload(self, name: str) -> None:
        async with self._locks[name]:  # a load that is under way ends first
            if name not in self._entries:
                raise ModelNotFoundError(name, sorted(self._entries))
            entries = [entry for entry in self.versions(name) if entry.state is not State.UNLOADING]
            leaving = [(entry.model, self._job(self._let_go(entry))) for entry in entries]
        await asyncio.gather(*(model.drained() if model and model.conversations else job for model, job in leaving))

    def _enter(self, folder: ModelFolder) -> None:
        """Show what a folder holds; what it serves already stays."""
        entries = self._entries.setdefault(folder.name, {})
        for number in folder.versions:
            if number not in entries or entries[number].state in (State.UNLOADING, State.UNLOADED):
                entry = entries[number] = Entry(folder.name, number, folder.repository)
                self._metrics.for_model(entry.name, number).state(entry.state)
        for number, reason in folder.problems.items():
            entry = entries.setdefault(number, Entry(folder.name, number, folder.repository))
            entry.stamp = ()
            if not entry.reason.endswith(reason):
                self._failed(entry, reason)

    async def _start(self, entry: Entry, found: Found, config: str) -> bool:
        begin, before = perf_counter(), entry.reason
        if not entry.model:
            entry.state, entry.reason = State.LOADING, "being loaded"
        try:
            model = await self._load_aside(found, config)
        except (ZooError, ServiceError) as exc:
            detail = exc.detail if isinstance(exc, InferenceError) else str(exc)
            path = found.version.path
            # The reason is shown to clients, who need not know the folders of this machine.
            self._failed(entry, detail.replace(f"{path.parents[1]}/", "").replace(f"{path}", path.name), before)
        except Exception as exc:  # one file must never keep the others from being served
            reason = f"unexpected {type(exc).__name__}; see the log"
            if not before.endswith(reason):
                log.exception("model %s %d: unexpected", entry.name, entry.version)
            self._failed(entry, reason, before)
        else:
            self._take_over(entry, model)
            where = (model.device.name, 1e3 * (perf_counter() - begin))
            log.info("model %s %d: ready on %s in %.0f ms", entry.name, entry.version, *where)
        finally:
            entry.stamp, entry.config = found.stamp, config
        return not entry.reason

    async def _load_aside(self, found: Found, config: str) -> ServedModel:
        model = await self._start_model(found.version, config)
        if await asyncio.to_thread(stamp, found.version) != found.stamp:
            await model.close()
            raise RepositoryError("the files changed while they were being loaded")
        return model

    def _take_over(self, entry: Entry, model: ServedModel) -> None:
        """The one step: requests up to here were the old model's, those from now on are the new one's."""
        old, entry.model = entry.model, model
        entry.state, entry.reason = State.READY, ""
        self._metrics.loads.labels(entry.name, entry.version, "ready").inc()
        self._metrics.for_model(entry.name, entry.version).state(entry.state)
        self._count()
        if old:
            self._former.add(old)
            self._job(self._retire(old))

    async def _let_go(self, entry: Entry) -> None:
        model, entry.model = entry.model, None
        entry.state = State.UNLOADING
        entry.reason = "finishes its requests and sequences" if model and model.conversations else _FINISHES
        metrics = model.metrics if model else self._metrics.for_model(entry.name, entry.version)
        metrics.state(entry.state)
        self._count()
        if model:
            self._former.add(model)
            await self._retire(model)
            log.info("model %s %d: unloaded", entry.name, entry.version)
        entry.state, entry.reason = State.UNLOADED, "unloaded"
        if self._entries.get(entry.name, {}).get(entry.version) is entry:  # else it was loaded again meanwhile
            metrics.removed()

    async def _remove(self, entry: Entry) -> None:
        await self._let_go(entry)
        entries = self._entries.get(entry.name, {})
        if entries.get(entry.version) is entry:
            del entries[entry.version]
            self._metrics.forget(entry.name, entry.version)
            if not entries:
                del self._entries[entry.name]

    async def _retire(self, model: ServedModel) -> None:
        await self._former.retire(model, self._sequence_seconds)
        await asyncio.to_thread(trim)

    def _failed(self, entry: Entry, reason: str, before: str = "") -> None:
        """Report a failure; one that was the reason before is no news."""
        if entry.model:
            entry.reason = f"serves on with its former files; the new ones failed: {reason}"
        else:
            entry.state, entry.reason = State.FAILED, reason
        self._metrics.loads.labels(entry.name, entry.version, "failed").inc()
        self._metrics.for_model(entry.name, entry.version).state(entry.state)
        level = logging.DEBUG if before.endswith(reason) else logging.ERROR
        log.log(level, "model %s %d: failed: %s", entry.name, entry.version, entry.reason)

    def _count(self) -> None:
        self._metrics.models_ready.set(len(self.ready()))

    async def _uninterrupted(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.shield(self._job(work))

    def _job(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._ended)
        return job

    def _ended(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        error = None if job.cancelled() else job.exception()
        if error and not isinstance(error, ServiceError):  # a ServiceError is for the caller, where it still waits
            log.error("a change of the models failed. This is a bug.", exc_info=error)


def _is_on_disk(entry: Entry) -> bool:
    return (entry.repository / entry.name / str(entry.version)).is_dir()


_FINISHES = "finishes its requests"
_INDEX_STATES = {State.LOADING: "LOADING", State.READY: "READY", State.UNLOADING: "UNLOADING"}


def _is_due(entry: Entry, found: Found, config: str, *, retry: bool) -> bool:
    if entry.stamp != found.stamp or entry.config != config or entry.state is State.LOADING:
        return True
    return retry and bool(entry.reason)
