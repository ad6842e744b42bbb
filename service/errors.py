"""What the server can refuse or fail, as one tree.

ServiceError
├── RequestError              INVALID_ARGUMENT    the caller sent something that cannot be used
│   ├── TaskMismatchError     INVALID_ARGUMENT    the model answers another kind of question
│   └── InvalidTensorError    INVALID_ARGUMENT    a tensor does not fit the model (tensor API)
├── SequenceError             INVALID_ARGUMENT    the request does not say which sequence it is a step of
│   └── SequenceNotStartedError INVALID_ARGUMENT  the sequence is not known, and the request is no start
├── SequenceBrokenError       ABORTED             an earlier step of the sequence failed, this one was not run
├── TooManySequencesError     RESOURCE_EXHAUSTED  as many sequences are alive as may be
├── InvalidItemsError         INVALID_ARGUMENT    some items of the request are bad; names each of them
├── MalformedMessageError     INVALID_ARGUMENT    the bytes are not the message that the RPC takes
├── MessageTooLargeError      RESOURCE_EXHAUSTED  the message is over the limit of bytes
├── UnauthenticatedError      UNAUTHENTICATED     no token, or an unknown one
├── PermissionDeniedError     PERMISSION_DENIED   the token has not the role that the RPC demands
├── AdminDisabledError        PERMISSION_DENIED   the RPC changes the server, which is not enabled
├── RateLimitedError          RESOURCE_EXHAUSTED  the client sends more requests in a second than it may
├── TooManyStreamsError       RESOURCE_EXHAUSTED  as many streams are open as may be
├── TooManyBytesError         RESOURCE_EXHAUSTED  the requests in flight are as large as they may be
├── ModelNotFoundError        NOT_FOUND           no model has that name
├── VersionNotFoundError      NOT_FOUND           the model has no such version
├── ModelNotReadyError        UNAVAILABLE         the version is loading or failed to load
├── LoadError                 INTERNAL            a model that was to be loaded cannot be
├── ControlError              FAILED_PRECONDITION the server does not load and unload on request
├── UnsupportedError          FAILED_PRECONDITION the server never does that, whatever its settings
├── RegionNotFoundError       NOT_FOUND           no shared memory of that name
├── DrainingError             UNAVAILABLE         the server is shutting down
├── QueueFullError            RESOURCE_EXHAUSTED  more work waits than the server takes on
├── DeadlineExpiredError      DEADLINE_EXCEEDED   the caller's deadline passed before the answer was there
├── InferenceError            INTERNAL            the model failed; details are in the log only
│   ├── OutOfMemoryError      RESOURCE_EXHAUSTED  this input needs more memory than there is
│   └── NotANumberError       INTERNAL            the output is NaN (option)
├── UnexpectedError           INTERNAL            a bug of the server; details are in the log only
└── StartError                (never sent)        the server cannot start as it was asked to
    └── DeviceError           (never sent)        the requested device does not work here

This module knows no gRPC, so that the batcher can raise these; `service.convert.status` puts them on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


class RequestError(ServiceError):
    """The caller sent something that cannot be used; `field` says where."""

    code, reason = "INVALID_ARGUMENT", "INVALID_REQUEST"

    def __init__(
        self, field: str, message: str, *, reason: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> None:
        name = reason or type(self).reason
        super().__init__(message, reason=name, metadata=metadata, violations=[Violation(field, name, message)])


class InvalidItemsError(ServiceError):
    """Some items of the request are bad; one violation for each, and the reason they share, if they do."""

    code, reason = "INVALID_ARGUMENT", "INVALID_ITEMS"

    def __init__(self, violations: Sequence[Violation], *, item_count: int) -> None:
        assert violations, "an error needs a cause"
        first = violations[0]
        reasons = {violation.reason for violation in violations}
        message = f"{first.field}: {first.description}"
        if len(violations) > 1:
            message = f"{len(violations)} of {item_count} items cannot be used; {message}"
        super().__init__(
            message,
            reason=reasons.pop() if len(reasons) == 1 else None,
            metadata={"invalid_items": len(violations), "items": item_count},
            violations=violations,
        )


class TaskMismatchError(RequestError):
    """The model answers another kind of question than the one it was asked."""

    reason = "TASK_MISMATCH"


class InvalidTensorError(RequestError):
    """A tensor of the tensor API does not fit the model."""

    reason = "INVALID_TENSOR"


class SequenceError(RequestError):
    """The model keeps state, and the request does not say which sequence it is a step of."""

    reason = "INVALID_SEQUENCE"


class SequenceNotStartedError(SequenceError):
    """No sequence of that id is alive, and the request does not start one. Existing clients match the text."""

    reason = "SEQUENCE_NOT_STARTED"

    def __init__(self, sequence: object, model: str) -> None:
        super().__init__(
            "parameters[sequence_start]",
            f"inference request for sequence {sequence} to model '{model}' must specify the START flag on the first "
            "request of the sequence",
            metadata={"sequence": sequence, "model": model},
        )


class SequenceBrokenError(ServiceError):
    """An earlier step of the sequence failed while this one waited behind it."""

    code, reason = "ABORTED", "SEQUENCE_BROKEN"

    def __init__(self, sequence: object) -> None:
        super().__init__(
            f"an earlier step of sequence {sequence} failed, and this one was not run; the state is as it was before "
            "that step: send it again, then this one",
            metadata={"sequence": sequence},
        )


class TooManySequencesError(ServiceError):
    """As many sequences of the model are alive as may be."""

    code, reason = "RESOURCE_EXHAUSTED", "TOO_MANY_SEQUENCES"

    def __init__(self, limit: int, *, retry_seconds: float) -> None:
        super().__init__(
            f"{limit} sequences of the model are alive, which is the limit; end those that are done, or raise the "
            "server's --max-sequences",
            metadata={"limit": limit},
        )
        self.retry_seconds = retry_seconds


class MalformedMessageError(ServiceError):
    """The bytes of the request are not the message that the RPC takes."""

    code, reason = "INVALID_ARGUMENT", "MALFORMED_MESSAGE"

    def __init__(self, size: int) -> None:
        text = f"the {size} bytes are not the request message of this RPC; generate the client from the server's .proto"
        super().__init__(text, metadata={"bytes": size})


class MessageTooLargeError(ServiceError):
    """The request has more bytes than the server takes."""

    code, reason = "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE"

    def __init__(self, size: int, limit: int) -> None:
        text = (
            f"the request has {size} bytes, the limit is {limit}; send fewer or smaller items per request, "
            "or raise the server's --max-message-mib"
        )
        violation = Violation("request", type(self).reason, text)
        super().__init__(text, metadata={"bytes": size, "limit": limit}, violations=[violation])


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


class ModelNotFoundError(ServiceError):
    """No model of the server has that name."""

    code, reason = "NOT_FOUND", "MODEL_NOT_FOUND"

    def __init__(self, name: str, available: Sequence[str]) -> None:
        there = f"the server has {', '.join(available)}" if available else "the server has no models"
        super().__init__(f"no model {name!r}; {there}", metadata={"model": name})
        self.name = name


class VersionNotFoundError(ServiceError):
    """The model has no such version."""

    code, reason = "NOT_FOUND", "VERSION_NOT_FOUND"

    def __init__(self, name: str, version: int, available: Sequence[int]) -> None:
        there = ", ".join(map(str, available)) or "none"
        super().__init__(
            f"model {name!r} has no version {version}; it has {there}; 0 chooses the highest that is ready",
            metadata={"model": name, "version": version},
        )
        self.name = name
        self.version = version


class ModelNotReadyError(ServiceError):
    """The version is being loaded, or failed to load."""

    code, reason = "UNAVAILABLE", "MODEL_NOT_READY"

    def __init__(self, name: str, version: int, state: str, why: str) -> None:
        which = f"model {name!r} version {version}" if version else f"model {name!r}"
        super().__init__(
            f"{which} is not ready ({state}): {why}", metadata={"model": name, "version": version, "state": state}
        )
        self.name, self.version = name, version
        self.state, self.why = state, why
        if state == "LOADING":
            self.retry_seconds = 1.0


class LoadError(ServiceError):
    """A model that was to be loaded does not exist, or a version of it cannot be served; the index says why."""

    code, reason = "INTERNAL", "LOAD_FAILED"

    def __init__(self, name: str) -> None:
        super().__init__(f"failed to load '{name}', failed to poll from model repository", metadata={"model": name})


class ControlError(ServiceError):
    """The server does not load and unload on request."""

    code, reason = "FAILED_PRECONDITION", "CONTROL_MODE"

    def __init__(self, mode: str) -> None:
        super().__init__(
            "explicit model load / unload is not allowed if polling is enabled, or models are not controlled at all "
            f"(--control-mode {mode}); start the server with --control-mode explicit",
            metadata={"control_mode": mode},
        )


class UnsupportedError(ServiceError):
    """The server never does that, whatever its settings; the message says why and what to do instead."""

    code, reason = "FAILED_PRECONDITION", "UNSUPPORTED"


class RegionNotFoundError(ServiceError):
    """No shared memory is registered under that name, since none ever is."""

    code, reason = "NOT_FOUND", "REGION_NOT_FOUND"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"Unable to find {kind} shared memory region: '{name}'", metadata={"region": name})


class DrainingError(ServiceError):
    """The server is shutting down; another one, or this one after its restart, will answer."""

    code, reason, retry_seconds = "UNAVAILABLE", "DRAINING", 1.0

    def __init__(self) -> None:
        super().__init__("the server is shutting down; try again, another server may answer")


class QueueFullError(ServiceError):
    """More work waits for the model than the server takes on."""

    code, reason = "RESOURCE_EXHAUSTED", "QUEUE_FULL"

    def __init__(self, rows: int, waiting: int, limit: int, *, retry_seconds: float) -> None:
        super().__init__(
            f"the queue is full: {waiting} items wait, {rows} more would pass the limit of {limit}; "
            f"try again in {retry_seconds:.2g} s, or send less at once",
            metadata={"items": rows, "waiting": waiting, "limit": limit},
        )
        self.retry_seconds = retry_seconds


class DeadlineExpiredError(ServiceError):
    """The caller's deadline passed before the answer was there."""

    code, reason = "DEADLINE_EXCEEDED", "DEADLINE_EXPIRED"

    def __init__(self) -> None:
        super().__init__("the deadline passed before the answer was there; allow more time, or send less at once")


class InferenceError(ServiceError):
    """The model failed on this input; the details are in the log of the server, under the id of the request."""

    code, reason = "INTERNAL", "INFERENCE_FAILED"

    def __init__(self, detail: str) -> None:
        super().__init__("the model failed on this input; the server's log says why, under this request's x-request-id")
        self.detail = detail
        """For the log, never for the caller."""


class OutOfMemoryError(InferenceError):
    """The model needs more memory for this input than the device has; other requests go on."""

    code, reason = "RESOURCE_EXHAUSTED", "OUT_OF_MEMORY"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.reword("the model needs more memory for this input than there is; send less at once, or smaller inputs")


class NotANumberError(InferenceError):
    """The model gave NaN for this input, and the server is set to refuse that."""

    reason = "OUTPUT_NAN"

    def __init__(self, output: str) -> None:
        super().__init__(f"output {output!r} holds NaN")
        self.reword(f"output {output!r} of the model holds NaN for this input; check the input's values")


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
