"""A server on the completion queue of grpcio's core. With `rpc`, the only module that touches grpcio's internals."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # its stub is for other type checkers

from service.transport.handlers import Option, Route
from service.transport.rpc import Rpc

log = logging.getLogger(__name__)

_WAITING_CALLS = 16
"""Calls that the core may hand over before it is asked for more."""
_EVENTS_AT_A_TIME = 64
"""Events that are handled before the event loop turns to what they started."""
_NOW = 0.0
"""A deadline that has passed."""
_NEW_CALL = object()
_STOPPED = object()


class CoreServer:
    """A gRPC server whose handlers run in the event loop that it is started in.

    The loop takes the core's events itself as long as there are any. When there are none, a thread waits for the next
    one and wakes the loop: two threads that handled events side by side would spend their time waiting for Python's
    lock.
    """

    def __init__(self, route: Route, options: Sequence[Option]) -> None:
        """Nothing listens yet.

        Args:
            route: finds the handlers.
            options: channel arguments of gRPC.
        """
        self._route = route
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple((name.encode(), value) for name, value in options), False)
        self._server.register_completion_queue(self._queue)
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening, self._stopped = False, asyncio.Event()
        self._waiter = threading.Thread(target=self._wait, name="grpc", daemon=True)
        self._waiters_turn = threading.Semaphore(0)

    def add_port(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on HOST:PORT, in plain text without credentials.

        Raises:
            RuntimeError: that is not possible.
        """
        own = (credentials._credentials,) if credentials else ()  # type: ignore[attr-defined]
        port: int = self._server.add_http2_port(address.encode(), *own)
        if not port:
            raise RuntimeError(f"gRPC cannot listen on {address}")
        return port

    async def start(self) -> None:
        """Take calls."""
        self._loop = asyncio.get_running_loop()
        self._server.start()
        self._waiter.start()
        self._listening = True
        for _ in range(_WAITING_CALLS):
            self._ask_for_call()

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls; those that are not done in time are cancelled."""
        if not self._listening:
            return
        self._listening = False
        self._server.shutdown(self._queue, _STOPPED)
        try:
            async with asyncio.timeout(grace_seconds):
                await self._stopped.wait()
        except TimeoutError:
            self._server.cancel_all_calls()
            await self._stopped.wait()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._queue.shutdown()
        await asyncio.to_thread(self._waiter.join)
        self._server.destroy()

    def _wait(self) -> None:
        """Wait for the next event whenever the loop has handled all; runs in a thread of its own."""
        while (event := self._queue.poll()).completion_type != cygrpc.CompletionType.queue_shutdown:
            self._loop.call_soon_threadsafe(self._handle_waited, event)
            self._waiters_turn.acquire()

    def _handle_waited(self, event: Any) -> None:
        self._handle(event)
        self._handle_more()

    def _handle_more(self) -> None:
        """Handle the events that are there, and come again after what they started has had its turn; without any, the
        waiting begins anew."""
        handled = 0
        while handled < _EVENTS_AT_A_TIME:
            event = self._queue.poll(_NOW)
            if event.completion_type != cygrpc.CompletionType.operation_complete:
                break
            self._handle(event)
            handled += 1
        if handled:
            self._loop.call_soon(self._handle_more)
        else:
            self._waiters_turn.release()

    def _handle(self, event: Any) -> None:
        try:
            if event.tag is _NEW_CALL:
                self._take_call(event)
            elif event.tag is _STOPPED:
                self._stopped.set()
            else:
                event.tag(event)
        except Exception:
            log.exception("an event of gRPC could not be handled. This is a bug.")

    def _take_call(self, event: Any) -> None:
        if self._listening:
            self._ask_for_call()
        if not event.success:
            return
        rpc = Rpc(event, self._spawn)
        handler = self._route(rpc.method, rpc.invocation_metadata())
        if handler:
            rpc.accept(handler)
        else:
            rpc.refuse(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    def _ask_for_call(self) -> None:
        self._server.request_call(self._queue, self._queue, _NEW_CALL)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
