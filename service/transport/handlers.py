"""The RPCs that generated code, or a library, registers with a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Option = tuple[str, int]
"""A channel argument of gRPC."""
Metadata = Iterable[tuple[str, str | bytes]]
Route = Callable[[str, Metadata], Any]
"""Gives the handler for a method and the metadata of a call, one that refuses, or None: there is no such method.
It never raises."""


class HandlerTable:
    """Takes the handlers, as a server of grpcio would, to look them up by the full name of the method."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Called by generated code."""
        self.handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def read_with(self, method: str, deserialize: Callable[[bytes], Any]) -> None:
        """Give the handler of a method something else than what generated code makes of the bytes of a request."""
        self.handlers[method] = self.handlers[method]._replace(request_deserializer=deserialize)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Called by generated code, too, with the same handlers behind a function that looks them up."""
