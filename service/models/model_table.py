"""The models of a server: what the repositories hold becomes what is served."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from service.errors import ControlError, LoadError, ModelNotFoundError
from service.models.catalog import Found, ModelFolder, ScanRepository, look
from service.models.entry import Entry, IndexRow, State
from service.models.turnover import StartModel, Turnover
from service.telemetry.metrics import Metrics
from zoo.errors import RepositoryError
from zoo.repository import scan

_INDEX_STATES = {State.LOADING: "LOADING", State.READY: "READY", State.UNLOADING: "UNLOADING"}


class ModelTable(Turnover):
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
        super().__init__(start_model, metrics, sequence_seconds=sequence_seconds)
        self._repositories = tuple(repositories)
        self._control_mode = control_mode
        self._scan = scan
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
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


def _is_on_disk(entry: Entry) -> bool:
    return (entry.repository / entry.name / str(entry.version)).is_dir()


def _is_due(entry: Entry, found: Found, config: str, *, retry: bool) -> bool:
    if entry.stamp != found.stamp or entry.config != config or entry.state is State.LOADING:
        return True
    return retry and bool(entry.reason)
