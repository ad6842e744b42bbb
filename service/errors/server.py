"""The server itself: it stops, cannot start, or has a bug."""

from __future__ import annotations

from service.errors.base import ServiceError


class DrainingError(ServiceError):
    """The server is shutting down; another one, or this one after its restart, will answer."""

    code, reason, retry_seconds = "UNAVAILABLE", "DRAINING", 1.0

    def __init__(self) -> None:
        super().__init__("the server is shutting down; try again, another server may answer")


class UnexpectedError(ServiceError):
    """Something that this server does not raise on purpose; the log has the traceback."""

    reason = "UNEXPECTED"

    def __init__(self) -> None:
        super().__init__("the server failed; its log says why, under this request's x-request-id")


class StartError(ServiceError):
    """The server cannot start as it was asked to."""

    reason = "START_FAILED"


class DeviceError(StartError):
    """The requested device does not work here."""

    reason = "DEVICE_UNAVAILABLE"
