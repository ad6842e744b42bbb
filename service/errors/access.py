"""What a caller may not do, or not as often, or not at all."""

from __future__ import annotations

from service.errors.base import ServiceError


class UnauthenticatedError(ServiceError):
    """The caller showed no token, or an unknown one."""

    code, reason = "UNAUTHENTICATED", "UNAUTHENTICATED"


class PermissionDeniedError(ServiceError):
    """The caller is known, but has not the role that the RPC demands."""

    code, reason = "PERMISSION_DENIED", "ROLE_MISSING"

    def __init__(self, name: str, method: str, role: str) -> None:
        super().__init__(
            f"{name} may not call {method}: it demands the role {role}; ask the operator for it",
            metadata={"name": name, "method": method, "role": role},
        )


class AdminDisabledError(ServiceError):
    """The RPC changes the server, and the operator has not enabled that."""

    code, reason = "PERMISSION_DENIED", "ADMIN_DISABLED"

    def __init__(self, method: str) -> None:
        text = f"{method} changes the server, which is not enabled; the operator can start it with --admin"
        super().__init__(text, metadata={"method": method})


class RateLimitedError(ServiceError):
    """The client sends more requests in a second than it may."""

    code, reason = "RESOURCE_EXHAUSTED", "RATE_LIMITED"

    def __init__(self, requests_per_second: float, *, retry_seconds: float) -> None:
        super().__init__(
            f"more than {requests_per_second:g} requests in a second; try again in {retry_seconds:.2g} s, "
            "or put more items into one request",
            metadata={"requests_per_second": f"{requests_per_second:g}"},
        )
        self.retry_seconds = retry_seconds


class TooManyStreamsError(ServiceError):
    """As many streams are open as may be."""

    code, reason, retry_seconds = "RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS", 1.0

    def __init__(self, limit: int) -> None:
        text = f"{limit} streams are open, which is the limit; close one, or raise the server's --max-streams"
        super().__init__(text, metadata={"limit": limit})


class TooManyBytesError(ServiceError):
    """The requests in flight are as large as they may be."""

    code, reason, retry_seconds = "RESOURCE_EXHAUSTED", "TOO_MANY_BYTES", 0.5

    def __init__(self, size: int, in_flight: int, limit: int) -> None:
        super().__init__(
            f"the requests in flight have {in_flight} bytes, {size} more would pass the limit of {limit}; try again, "
            "or raise the server's --max-inflight-mib",
            metadata={"bytes": size, "in_flight": in_flight, "limit": limit},
        )


class UnsupportedError(ServiceError):
    """The server never does that, or not as it was started; the message says why and what to do instead."""

    code, reason = "FAILED_PRECONDITION", "UNSUPPORTED"
