"""What can happen to a request that was taken."""

from __future__ import annotations

from service.errors.base import ServiceError


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
