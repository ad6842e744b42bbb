"""`python -m service.client.health HOST:PORT`: exit code 0 if a server answers that it is serving, for containers."""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def is_serving(address: str, *, service: str = "", timeout_seconds: float = 5.0) -> bool:
    """Ask the standard health service; False also where nobody answers."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            response = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
    serving: bool = response.status == health_pb2.HealthCheckResponse.SERVING
    return serving


if __name__ == "__main__":
    sys.exit(0 if is_serving(*sys.argv[1:2] or ["127.0.0.1:8001"]) else 1)
