"""The models of a server: name, version -> served model, with the state of every version that was found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from time import perf_counter

from service.entry import Entry, State
from service.errors import InferenceError, ModelNotFoundError, ModelNotReadyError, ServiceError, VersionNotFoundError
from service.metrics import Metrics
from service.served_model import ServedModel
from zoo.errors import ZooError
from zoo.repository import ModelVersion, scan

log = logging.getLogger(__name__)

StartModel = Callable[[ModelVersion], Awaitable[ServedModel]]
"""Loads a version and starts to serve it; raises ZooError or ServiceError where it cannot."""


class ModelTable:
    """All versions of all models. Belongs to one event loop."""

    def __init__(self, start_model: StartModel, metrics: Metrics) -> None:
        self._start_model = start_model
        self._metrics = metrics
        self._entries: dict[str, dict[int, Entry]] = {}
        self._to_load: list[tuple[Entry, ModelVersion]] = []
        self.loaded = False
        """Whether the first load has ended."""

    def entries(self) -> list[Entry]:
        """All versions, sorted by name, then number."""
        return [self._entries[name][number] for name in sorted(self._entries) for number in sorted(self._entries[name])]

    def versions(self, name: str) -> list[Entry]:
        """All versions of a model, lowest first; none for an unknown name."""
        return [entry for entry in self.entries() if entry.name == name]

    def ready(self) -> list[ServedModel]:
        """Everything that answers."""
        return [entry.model for entry in self.entries() if entry.model]

    def find(self, name: str, version: int = 0) -> Entry:
        """A version; 0: the highest that is ready, else the highest there is.

        Raises:
            ModelNotFoundError: no model has that name.
            VersionNotFoundError: the model has no such version.
        """
        versions = self._entries.get(name)
        if not versions:
            raise ModelNotFoundError(name, sorted(self._entries))
        if not version:
            return max(versions.values(), key=lambda entry: (entry.state is State.READY, entry.version))
        if version not in versions:
            raise VersionNotFoundError(name, version, sorted(versions))
        return versions[version]

    def get(self, name: str, version: int = 0) -> ServedModel:
        """The served model; 0: the highest version that is ready.

        Raises:
            ModelNotFoundError, VersionNotFoundError: as `find`.
            ModelNotReadyError: it is loading, or failed to.
        """
        entry = self.find(name, version)
        if entry.model is None:
            raise ModelNotReadyError(name, entry.version, entry.state, entry.reason)
        return entry.model

    def discover(self, repositories: Iterable[Path]) -> None:
        """Enter everything that the repositories hold. A model belongs to the first one that has it.

        Raises:
            RepositoryError: a repository cannot be read.
        """
        scans = [(repository, scan(repository)) for repository in repositories]
        for repository, found in scans:
            for problem in found.problems:
                entry = Entry(problem.name, problem.version or 0, repository)
                if self._enter(entry):
                    self._failed(entry, problem.reason.replace(f"{repository}/", ""))
            for version in found.versions:
                entry = Entry(version.name, version.version, repository)
                if self._enter(entry):
                    self._to_load.append((entry, version))

    async def load(self) -> None:
        """Load everything that was discovered, side by side. What cannot be loaded is FAILED, with the reason."""
        jobs, self._to_load = self._to_load, []
        await asyncio.gather(*(self._load(entry, found) for entry, found in jobs))
        self.loaded = True

    async def close(self, timeout_seconds: float) -> None:
        """Close every model."""
        await asyncio.gather(*(model.close(timeout_seconds) for model in self.ready()))
        self._entries.clear()

    def _enter(self, entry: Entry) -> bool:
        versions = self._entries.setdefault(entry.name, {})
        others = {other.repository for other in versions.values()} - {entry.repository}
        if others:
            reason = f"model {entry.name!r} is in {others.pop()} already; rename one of them"
            if entry.version not in versions:
                versions[entry.version] = entry
                self._failed(entry, reason)
            else:
                log.warning("model %s %d of %s is not served: %s", entry.name, entry.version, entry.repository, reason)
            return False
        versions[entry.version] = entry
        self._metrics.for_model(entry.name, entry.version).state(entry.state)
        return True

    async def _load(self, entry: Entry, found: ModelVersion) -> None:
        start = perf_counter()
        try:
            model = await self._start_model(found)
        except (ZooError, ServiceError) as exc:
            detail = exc.detail if isinstance(exc, InferenceError) else str(exc)
            # The reason is shown to clients, who need not know the folders of this machine.
            self._failed(entry, detail.replace(f"{found.path}", found.path.name))
            return
        except Exception as exc:  # one file must never keep the others from being served
            log.exception("model %s %d: unexpected", entry.name, entry.version)
            self._failed(entry, f"unexpected {type(exc).__name__}; see the log")
            return
        entry.model, entry.state, entry.reason = model, State.READY, ""
        self._metrics.for_model(entry.name, entry.version).state(entry.state)
        self._metrics.models_ready.inc()
        milliseconds = 1e3 * (perf_counter() - start)
        log.info("model %s %d: ready on %s in %.0f ms", entry.name, entry.version, model.device.name, milliseconds)

    def _failed(self, entry: Entry, reason: str) -> None:
        entry.state, entry.reason = State.FAILED, reason
        self._metrics.for_model(entry.name, entry.version).state(entry.state)
        log.error("model %s %d: failed: %s", entry.name, entry.version, reason)
