"""The same server on `grpc.aio`: for a grpcio whose internals have changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from service.transport.handlers import Option, Route


class AioServer:
    """A gRPC server of grpcio's public API."""

    def __init__(self, route: Route, options: Sequence[Option]) -> None:
        """Nothing listens yet; arguments as those of `CoreServer`."""
        self._server = grpc.aio.server(interceptors=[_Router(route)], options=list(options))

    def add_port(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on HOST:PORT, in plain text without credentials.

        Raises:
            RuntimeError: that is not possible.
        """
        if credentials:
            return self._server.add_secure_port(address, credentials)
        return self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Take calls."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls; those that are not done in time are cancelled."""
        await self._server.stop(grace_seconds)


class _Router(grpc.aio.ServerInterceptor):
    def __init__(self, route: Route) -> None:
        self._route = route

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:  # noqa: ARG002
        """The route's handler; None: gRPC answers UNIMPLEMENTED."""
        return self._route(details.method, details.invocation_metadata or ())
