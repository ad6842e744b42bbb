"""What the server can refuse or fail, as one tree.

ServiceError
├── RequestError              INVALID_ARGUMENT    the caller sent something that cannot be used
│   ├── TaskMismatchError     INVALID_ARGUMENT    the model answers another kind of question
│   ├── InvalidTensorError    INVALID_ARGUMENT    a tensor does not fit the model (tensor API)
│   └── InvalidRegionError    INVALID_ARGUMENT    shared memory cannot be opened, or a tensor does not fit into it
├── SequenceError             INVALID_ARGUMENT    the request does not say which sequence it is a step of
│   └── SequenceNotStartedError INVALID_ARGUMENT  the sequence is not known, and the request is no start
├── SequenceBrokenError       ABORTED             an earlier step of the sequence failed, this one was not run
├── SequenceLostError         ABORTED             its model was replaced or unloaded, and could not wait longer
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
├── UnsupportedError          FAILED_PRECONDITION the server never does that, or not as it was started
├── RegionNotFoundError       NOT_FOUND           no shared memory of that name
├── RegionExistsError         ALREADY_EXISTS      shared memory of that name is registered already
├── TooManyRegionsError       RESOURCE_EXHAUSTED  as many regions of shared memory are registered as may be
├── DrainingError             UNAVAILABLE         the server is shutting down
├── QueueFullError            RESOURCE_EXHAUSTED  more work waits than the server takes on
├── DeadlineExpiredError      DEADLINE_EXCEEDED   the caller's deadline passed before the answer was there
├── InferenceError            INTERNAL            the model failed; details are in the log only
│   ├── OutOfMemoryError      RESOURCE_EXHAUSTED  this input needs more memory than there is
│   └── NotANumberError       INTERNAL            the output is NaN (option)
├── UnexpectedError           INTERNAL            a bug of the server; details are in the log only
└── StartError                (never sent)        the server cannot start as it was asked to
    └── DeviceError           (never sent)        the requested device does not work here

Nothing here knows gRPC, so that the batcher can raise these; `service.convert.status` puts them on the wire.
"""

from service.errors.access import (
    AdminDisabledError,
    PermissionDeniedError,
    RateLimitedError,
    TooManyBytesError,
    TooManyStreamsError,
    UnauthenticatedError,
    UnsupportedError,
)
from service.errors.base import ServiceError, Violation
from service.errors.models import ControlError, LoadError, ModelNotFoundError, ModelNotReadyError, VersionNotFoundError
from service.errors.regions import InvalidRegionError, RegionExistsError, RegionNotFoundError, TooManyRegionsError
from service.errors.requests import (
    InvalidItemsError,
    InvalidTensorError,
    MalformedMessageError,
    MessageTooLargeError,
    RequestError,
    TaskMismatchError,
)
from service.errors.runs import (
    DeadlineExpiredError,
    InferenceError,
    NotANumberError,
    OutOfMemoryError,
    QueueFullError,
)
from service.errors.sequences import (
    SequenceBrokenError,
    SequenceError,
    SequenceLostError,
    SequenceNotStartedError,
    TooManySequencesError,
)
from service.errors.server import DeviceError, DrainingError, StartError, UnexpectedError

__all__ = [
    "AdminDisabledError",
    "ControlError",
    "DeadlineExpiredError",
    "DeviceError",
    "DrainingError",
    "InferenceError",
    "InvalidItemsError",
    "InvalidRegionError",
    "InvalidTensorError",
    "LoadError",
    "MalformedMessageError",
    "MessageTooLargeError",
    "ModelNotFoundError",
    "ModelNotReadyError",
    "NotANumberError",
    "OutOfMemoryError",
    "PermissionDeniedError",
    "QueueFullError",
    "RateLimitedError",
    "RegionExistsError",
    "RegionNotFoundError",
    "RequestError",
    "SequenceBrokenError",
    "SequenceError",
    "SequenceLostError",
    "SequenceNotStartedError",
    "ServiceError",
    "StartError",
    "TaskMismatchError",
    "TooManyBytesError",
    "TooManyRegionsError",
    "TooManySequencesError",
    "TooManyStreamsError",
    "UnauthenticatedError",
    "UnexpectedError",
    "UnsupportedError",
    "VersionNotFoundError",
    "Violation",
]
