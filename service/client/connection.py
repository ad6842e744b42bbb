"""How to reach a server: plain or with TLS, with a token or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from service.client.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a client trusts, and what it shows. Nothing given: plain text, as on the loopback.

    A token is sent over plain text too where no authority is given; do that on the loopback only.
    """

    tls: bool = False
    """Speak TLS, and trust the authorities that gRPC brings with it; any of the three files below means it too."""
    tls_ca: Path | None = None
    """PEM file of the authorities that are trusted instead."""
    certificate: Path | None = None
    """PEM file of the client's own certificate, for a server that asks for one."""
    key: Path | None = None
    """PEM file of its key."""
    server_name: str = ""
    """Name in the server's certificate, where it is not that of the address."""
    token: str = ""
    """Sent with every call as `authorization: Bearer TOKEN`."""

    def channel(self, address: str) -> grpc.Channel:
        """Connect lazily.

        Raises:
            UsageError: a file cannot be read, or the key is missing.
        """
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
        ]
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        if not (self.tls or self.tls_ca or self.certificate or self.key):
            return grpc.insecure_channel(address, options=options)
        if (self.certificate is None) != (self.key is None):
            raise UsageError("CERTIFICATE_INCOMPLETE", "a client's certificate and its key go together; one is missing")
        credentials = grpc.ssl_channel_credentials(_read(self.tls_ca), _read(self.key), _read(self.certificate))
        return grpc.secure_channel(address, credentials, options=options)

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """What goes with every call."""
        return [("authorization", f"Bearer {self.token}")] if self.token else []


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as exc:
        raise UsageError("FILE_UNREADABLE", f"{path} cannot be read: {exc.strerror}") from exc
