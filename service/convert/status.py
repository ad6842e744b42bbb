"""Errors on the wire: google.rpc.Status with one ErrorInfo, and BadRequest and RetryInfo where they say something."""

from __future__ import annotations

from urllib.parse import quote

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from service.errors import ServiceError, Violation

DOMAIN = "menagerie"

# A status travels in the trailing metadata, of which clients take 8 KiB by default. On the wire the details grow by a
# third (base64), and characters of the message that are not ASCII become nine.
MAX_DETAILS_BYTES = 3500
MAX_MESSAGE_BYTES = 1500
_MAX_DESCRIPTION = 300
_MAX_VALUE = 200
"""Characters of a field's name, or of a value of the metadata: callers may send names of any length."""


def to_status(error: ServiceError, request_id: str) -> status_pb2.Status:
    """The status for an error. Where it blames more fields than fit, the first ones are named."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=_fit(error.message))
    metadata = {key: value[:_MAX_VALUE] for key, value in error.metadata.items()} | {"request_id": request_id}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if error.retry_seconds is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_seconds * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.violations:
        room = MAX_DETAILS_BYTES - status.ByteSize()
        status.details.add().Pack(_bad_request(error.violations, room))
    return status


def _bad_request(violations: tuple[Violation, ...], room: int) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for violation in violations:
        added = bad_request.field_violations.add(
            field=violation.field[:_MAX_VALUE],
            reason=violation.reason,
            description=violation.description[:_MAX_DESCRIPTION],
        )
        room -= added.ByteSize() + 4
        if room < 0 and len(bad_request.field_violations) > 1:
            del bad_request.field_violations[-1]
            break
    return bad_request


def _fit(message: str) -> str:
    """Cut a message that would be too long on the wire, where it is percent-encoded."""
    shown = message[: MAX_MESSAGE_BYTES + 1]  # first of all: names of megabytes would be encoded for seconds
    if len(quote(shown, safe=" ")) <= MAX_MESSAGE_BYTES:
        return shown
    while len(quote(shown, safe=" ")) > MAX_MESSAGE_BYTES - 3:
        shown = shown[: len(shown) * 9 // 10]
    return shown + "..."
