"""grpc.health.v1: the truth at the time of asking, not a value that somebody set once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.models.readiness import Readiness

LIVENESS = "liveness"
"""Name to ask for whether the process is alive, as a Kubernetes liveness probe wants it."""
WATCH_SECONDS = 1.0
"""How often a watcher's answer is looked up again; a change that the server itself makes arrives at once."""

_Status = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it ships no types
    """Health of the whole server ("") and of each service by its full name."""

    def __init__(self, readiness: Readiness, predicting: frozenset[str], describing: frozenset[str]) -> None:
        """`predicting` services need a model that answers, `describing` ones only a server that is not stopping."""
        self._readiness = readiness
        self._predicting = predicting | {""}
        self._describing = describing

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802
        """The status now; NOT_FOUND for an unknown service."""
        status = await self._status(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request.service!r}; the server is ''")
        return _Status(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> AsyncIterator[Any]:  # noqa: N802, ARG002
        """The status now and whenever it changes, until the server stops."""
        sent = None
        while True:
            changed = self._readiness.changed
            ending = self._readiness.draining  # looked up before the status, so that the last one sent is the end's
            status = await self._status(request.service)
            if status != sent:
                sent = status
                yield _Status(status=status)
            if ending:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await changed.wait()

    async def _status(self, service: str) -> int:
        if service == LIVENESS:
            return int(_Status.SERVING)
        if service in self._describing:
            serving = not self._readiness.draining
        elif service in self._predicting:
            serving = await self._readiness.serving()
        else:
            return int(_Status.SERVICE_UNKNOWN)
        return int(_Status.SERVING if serving else _Status.NOT_SERVING)
