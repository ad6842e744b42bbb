"""What all errors of the server have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """One field of a request that cannot be used."""

    field: str
    """Path in the request, e.g. "images[3]"."""
    reason: str
    """UPPER_SNAKE word for programs."""
    description: str
    """What is wrong, with the value and the way out."""


class ServiceError(Exception):
    """Base of everything that the server raises on purpose; the message is fit for the caller."""

    code = "INTERNAL"
    """Name of the gRPC status."""
    reason = "INTERNAL"
    """UPPER_SNAKE word for programs."""
    retry_seconds: float | None = None
    """When trying again makes sense; None: no hint."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, object] | None = None,
        violations: Iterable[Violation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.metadata = {key: str(value) for key, value in (metadata or {}).items()}
        self.violations = tuple(violations)

    def reword(self, message: str) -> None:
        """Say it in other words, for an API whose clients know certain texts."""
        self.args, self.message = (message,), message
