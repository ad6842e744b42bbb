"""`python -m service.client.health HOST:PORT`: exit code 0 if a server answers that it is serving, for containers.

TLS and a token come from the environment, under the names that menagerie-predict has for them: MENAGERIE_TLS_CA,
MENAGERIE_TLS_SERVER_NAME, MENAGERIE_CLIENT_CERTIFICATE, MENAGERIE_CLIENT_KEY, MENAGERIE_TOKEN.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.client.connection import Credentials
from service.client.errors import UsageError


def is_serving(
    address: str, *, service: str = "", timeout_seconds: float = 5.0, credentials: Credentials | None = None
) -> bool:
    """Ask the standard health service; False also where nobody answers."""
    credentials = credentials or Credentials()
    with credentials.channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            response = stub.Check(request, timeout=timeout_seconds, metadata=credentials.metadata)
        except grpc.RpcError:
            return False
    serving: bool = response.status == health_pb2.HealthCheckResponse.SERVING
    return serving


def _from_environment() -> Credentials:
    def file(name: str) -> Path | None:
        value = os.environ.get(name)
        return Path(value) if value else None

    return Credentials(
        tls_ca=file("MENAGERIE_TLS_CA"),
        certificate=file("MENAGERIE_CLIENT_CERTIFICATE"),
        key=file("MENAGERIE_CLIENT_KEY"),
        server_name=os.environ.get("MENAGERIE_TLS_SERVER_NAME", ""),
        token=os.environ.get("MENAGERIE_TOKEN", ""),
    )


def main() -> None:
    """Exit with 0 if the server is serving."""
    address = sys.argv[1] if sys.argv[1:] else "127.0.0.1:8001"
    try:
        sys.exit(0 if is_serving(address, credentials=_from_environment()) else 1)
    except UsageError as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    main()
