"""Certificates: for gRPC, and for the metrics beside it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from service.errors import StartError
from service.settings import Settings


@dataclass(frozen=True)
class Tls:
    """Both sides' credentials, checked: key and certificate belong together."""

    grpc: grpc.ServerCredentials
    http: ssl.SSLContext


def load_tls(settings: Settings) -> Tls | None:
    """What the settings name; None: plain text.

    Raises:
        StartError: a file cannot be read, or is not what it should be.
    """
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is None or key is None:
        return None
    http = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    http.minimum_version = ssl.TLSVersion.TLSv1_2
    pair = _read("--tls-key", key), _read("--tls-certificate", certificate)
    try:
        http.load_cert_chain(certificate, key, password="")  # an encrypted key is an error, not a question
    except (ssl.SSLError, ValueError) as exc:
        text = f"--tls-certificate {certificate} and --tls-key {key} are not a PEM certificate and its unencrypted key"
        raise StartError(f"{text}: {getattr(exc, 'reason', None) or exc}") from exc
    authorities = None
    if client_ca:
        authorities = _read("--tls-client-ca", client_ca)
        try:
            http.load_verify_locations(client_ca)
        except ssl.SSLError as exc:
            raise StartError(f"--tls-client-ca {client_ca} is not a PEM file of certificates") from exc
        http.verify_mode = ssl.CERT_REQUIRED
    credentials = grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)
    return Tls(credentials, http)


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise StartError(f"{flag} {path} cannot be read: {exc.strerror}") from exc
