"""What the client raises.

ClientError
├── PredictionError   the server refused or failed a call
└── UsageError        the call could not even be made: a file that cannot be read, a model of another kind
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


class ClientError(Exception):
    """Base of all errors of the client; the text is fit for a user."""


class UsageError(ClientError):
    """The call could not be made."""

    code = "INVALID_ARGUMENT"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass
class PredictionError(ClientError):
    """The server refused or failed a call."""

    code: str
    """gRPC status, e.g. "INVALID_ARGUMENT"."""
    reason: str
    """UPPER_SNAKE word for programs, e.g. "IMAGE_INVALID"; the code where the server gave none."""
    message: str
    violations: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Items that are to blame: index in the call to (reason, description)."""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def translate(error: grpc.RpcError, address: str) -> PredictionError:
    """Make a typed error of a failed call, with the google.rpc details that the server sent."""
    code = error.code().name
    if code == "UNAVAILABLE" and not error.trailing_metadata():
        message = f"no server answers at {address}; start one with menagerie-serve, or name another with --address"
        if "ssl" in (error.details() or "").lower():
            message = f"the server at {address} and this client do not trust each other; see --tls-ca"
        return PredictionError(code, "SERVER_UNREACHABLE", message)
    status = rpc_status.from_call(error) or status_pb2.Status()
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad_request)
    return PredictionError(code, info.reason or code, error.details() or code, _violations(bad_request))


def _violations(bad_request: error_details_pb2.BadRequest) -> dict[int, tuple[str, str]]:
    indexed = ((re.search(r"\[(\d+)\]", item.field), item) for item in bad_request.field_violations)
    return {int(match[1]): (item.reason, item.description) for match, item in indexed if match}
