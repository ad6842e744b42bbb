"""The floor of the wire: a bare grpcio server that answers any request with so many bytes.

    python -m tests.benchmarks.echo threads

The path says how many, /echo.Echo/148; nothing is parsed. Three kinds: `asyncio`, `threads` (a pool), and `pinned`, the
pool on one core only, which its threads then do not have to share Python's lock across.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

KINDS = ("asyncio", "threads", "pinned")
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """A server of each kind, in processes of their own; their HOST:PORT by kind."""
    command = [sys.executable, "-m", "tests.benchmarks.echo"]
    processes = {kind: subprocess.Popen([*command, kind], stdout=subprocess.PIPE, text=True) for kind in KINDS}
    try:
        yield {kind: f"127.0.0.1:{_first_line(process)}" for kind, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, *, coroutines: bool) -> None:
        self._coroutines = coroutines
        self._known: dict[str, Any] = {}

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        if path not in self._known:
            answer = bytes(int(path.rpartition("/")[2]))

            def reply(request: bytes, context: Any) -> bytes:
                return answer

            async def reply_later(request: bytes, context: Any) -> bytes:
                return answer

            self._known[path] = grpc.unary_unary_rpc_method_handler(reply_later if self._coroutines else reply)
        return self._known[path]


async def _serve_asyncio() -> None:
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((_Handlers(coroutines=True),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


def _serve_threads() -> None:
    server = grpc.server(ThreadPoolExecutor(16), options=_OPTIONS)
    server.add_generic_rpc_handlers((_Handlers(coroutines=False),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def main() -> None:
    """Print the port, then serve until killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    kind = sys.argv[1]
    if kind == "asyncio":
        asyncio.run(_serve_asyncio())
    if kind == "pinned":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    _serve_threads()


if __name__ == "__main__":
    main()
