"""Certificates: for gRPC, and for the metrics beside it. New ones are taken as soon as they are there, for connections
that begin afterwards."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from service.errors import StartError
from service.security.tokens import stamp
from service.settings import Settings

log = logging.getLogger(__name__)


class Tls:
    """The credentials of both servers, checked: key and certificate belong together."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Raises:
            StartError: a file cannot be read, or is not what it should be.
        """
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self.http = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For the metrics; follows with the next connection to gRPC. An authority that is taken away stays trusted here
        until the server starts again: a context of Python forgets none."""
        self.http.minimum_version = ssl.TLSVersion.TLSv1_2
        if client_ca:
            self.http.verify_mode = ssl.CERT_REQUIRED
        self._stamps = self._look()
        self.grpc = grpc.dynamic_ssl_server_credentials(
            self._load(),
            self._refresh,  # type: ignore[arg-type]  # None says that there is nothing new
            require_client_authentication=client_ca is not None,
        )
        """For gRPC, which asks before each handshake whether there is something new."""

    def _load(self) -> grpc.ServerCertificateConfiguration:
        pair = _read("--tls-key", self._key), _read("--tls-certificate", self._certificate)
        authorities = _read("--tls-client-ca", self._client_ca) if self._client_ca else None
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for context in (trial, self.http):  # what does not fit must not get half into the one in use
            _load_pair(context, self._certificate, self._key)
            if self._client_ca:
                _load_authorities(context, self._client_ca)
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def _refresh(self) -> grpc.ServerCertificateConfiguration | None:
        """The new files, if they changed and fit together; called by threads of gRPC, one at a time."""
        stamps = self._look()
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        try:
            found = self._load()
        except StartError as exc:
            log.error("%s; the certificate from before stays", exc)
            return None
        log.info("--tls-certificate %s: a new certificate", self._certificate)
        return found

    def _look(self) -> list[object]:
        return [stamp(path) for path in (self._certificate, self._key, self._client_ca) if path]


def load_tls(settings: Settings) -> Tls | None:
    """What the settings name; None: plain text.

    Raises:
        StartError: a file cannot be read, or is not what it should be.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Tls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # an encrypted key is an error, not a question
    except (OSError, ValueError) as exc:
        text = f"--tls-certificate {certificate} and --tls-key {key} are not a PEM certificate and its unencrypted key"
        raise StartError(f"{text}: {getattr(exc, 'reason', None) or exc}") from exc


def _load_authorities(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as exc:
        raise StartError(f"--tls-client-ca {client_ca} is not a PEM file of certificates") from exc


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise StartError(f"{flag} {path} cannot be read: {exc.strerror}") from exc
