"""How single versions come and go.

A version is loaded aside: opened, checked and warmed up in threads while the one before goes on serving. It takes over
in one step, between two requests; the one before finishes what it has and gives its memory back. Where a load fails,
the one before just stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter
from typing import Any

from service.errors import InferenceError, ServiceError
from service.memory import trim
from service.models.catalog import Found, stamp
from service.models.entry import Entry, State
from service.models.lookup import ModelLookup
from service.models.served_model import ServedModel
from service.telemetry.metrics import Metrics
from zoo.errors import RepositoryError, ZooError
from zoo.repository import ModelVersion

log = logging.getLogger(__name__)

StartModel = Callable[[ModelVersion, str], Awaitable[ServedModel]]
"""Loads a version, with a configuration as JSON or "", and starts to serve it; raises ZooError or ServiceError where it
cannot."""
_FINISHES = "finishes its requests"


class Turnover(ModelLookup):
    """Starts versions, and lets go of them. Belongs to one event loop."""

    def __init__(self, start_model: StartModel, metrics: Metrics, *, sequence_seconds: float) -> None:
        """No versions yet; the arguments are as those of `ModelTable`."""
        super().__init__()
        self._start_model = start_model
        self._metrics = metrics
        self._sequence_seconds = sequence_seconds
        self._jobs: set[asyncio.Task[Any]] = set()

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
        try:
            if await asyncio.to_thread(stamp, found.version) != found.stamp:
                raise RepositoryError("the files changed while they were being loaded")
        except BaseException:  # the server ends, perhaps
            await model.close()
            raise
        return model

    def _take_over(self, entry: Entry, model: ServedModel) -> None:
        """The one step: requests up to here were the old model's, those from now on are the new one's."""
        old, entry.model = entry.model, model
        model.took_over()
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
