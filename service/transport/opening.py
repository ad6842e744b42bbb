"""Chooses between the transports."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import grpc

from service.transport.aio import AioServer
from service.transport.handlers import Option, Route

log = logging.getLogger(__name__)


class Transport(Protocol):
    """A gRPC server."""

    def add_port(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on HOST:PORT, in plain text without credentials.

        Raises:
            RuntimeError: that is not possible.
        """
        ...

    async def start(self) -> None:
        """Take calls."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls; those that are not done in time are cancelled."""
        ...


def open_transport(kind: str, route: Route, options: Sequence[Option]) -> Transport:
    """The transport of that kind: "core", "aio", or with "auto" the first of them that works here."""
    if kind != "aio":
        try:
            from service.transport.core import CoreServer

            return CoreServer(route, options)
        except (ImportError, AttributeError, TypeError) as exc:
            if kind == "core":
                raise
            log.warning("grpcio %s is not what the fast transport knows (%s); --transport aio", grpc.__version__, exc)
    return AioServer(route, options)
