"""`/metrics` over HTTP, or over HTTPS where the server has a certificate."""

from __future__ import annotations

import ssl
from socket import AF_INET6
from socketserver import TCPServer
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from service.errors import StartError


def serve_metrics(
    registry: CollectorRegistry, host: str, port: int, tls: ssl.SSLContext | None = None
) -> MetricsServer:
    """Serve a registry in a thread of its own.

    Raises:
        StartError: the port is in use, or the host is not ours.
    """
    kind = _Server6 if ":" in host else _Server
    try:
        server = make_server(host, port, make_wsgi_app(registry), kind, _Handler)
    except OSError as exc:
        raise StartError(
            f"cannot serve metrics on {host}:{port}: {exc.strerror}; choose another --metrics-port, 0 for any"
        ) from exc
    if tls:
        # The handshake waits for the thread that answers, so that a slow client keeps nobody else from connecting.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return MetricsServer(server)


class _Server(ThreadingWSGIServer):
    """Does not look up the names of hosts, which takes seconds where there is no resolver."""

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10.0
    """Seconds that a client may keep a thread waiting."""

    def log_message(self, *_: object) -> None:
        """Scrapes are no news."""


class MetricsServer:
    """The HTTP server behind `/metrics`."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server
        self.port: int = server.server_port
        # The server looks every `poll_interval` seconds whether it should stop.
        self._thread = Thread(target=server.serve_forever, args=(0.05,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
