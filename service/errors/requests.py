"""What a caller sent that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.errors.base import ServiceError, Violation


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
