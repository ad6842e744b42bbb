"""One RPC: what its handler sees of it, and the operations that it makes of the handler's answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # its stub is for other type checkers

from service.transport.handlers import Metadata

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
_NO_FLAGS = 0
_ENDLESS_SECONDS = 1e9
"""The core says "no deadline" with a moment in the far future."""


class Rpc:
    """The context of a handler, as `grpc.aio.ServicerContext` in the part that is used here."""

    def __init__(self, event: Any, spawn: Spawn) -> None:
        """Take a new call.

        Args:
            event: the core's.
            spawn: starts a task, and keeps it until it is done.
        """
        self.method: str = event.call_details.method.decode(errors="replace")
        seconds = event.call_details.deadline - time.time()
        self._deadline = time.monotonic() + seconds if seconds < _ENDLESS_SECONDS else None
        self._metadata: Metadata = event.invocation_metadata
        self._call = event.call
        self._spawn = spawn
        self._handler: Any = None
        self._task: asyncio.Task[None] | None = None
        self._running = self._left = self._opened = False
        self._code, self._details = grpc.StatusCode.OK, ""
        self._trailing_metadata: Metadata = ()

    def invocation_metadata(self) -> Metadata:
        """What the caller sent beside the request."""
        return self._metadata

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """What goes beside the status."""
        self._trailing_metadata = metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None: it has none."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def peer(self) -> str:
        """The caller's address, as "ipv4:127.0.0.1:50000"."""
        peer: bytes = self._call.peer()
        return peer.decode()

    def code(self) -> grpc.StatusCode:
        """The status so far."""
        return self._code

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """End the RPC with a status."""
        self._code, self._details = code, details
        self._trailing_metadata = trailing_metadata or self._trailing_metadata
        raise grpc.aio.AbortError

    def accept(self, handler: Any) -> None:
        """Give the RPC to its handler."""
        self._handler = handler
        self._call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._on_close)
        if handler.request_streaming:
            self._begin_stream()
        else:
            self._call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._on_message)

    def refuse(self, code: grpc.StatusCode, details: str) -> None:
        """End the RPC without a handler."""
        self._call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._on_close)
        self._code, self._details = code, details
        self._finish()

    def _on_message(self, event: Any) -> None:
        data = event.batch_operations[0].message()
        if data is not None:
            self._begin(data)
        else:
            self._code, self._details = grpc.StatusCode.INTERNAL, "the request has no message"
            self._finish()

    def _on_close(self, event: Any) -> None:
        """The RPC is over, or the caller has left."""
        self._left = event.batch_operations[0].cancelled()
        # A task that has not begun would end without a word: it looks for itself.
        if self._left and self._task and self._running:
            self._task.cancel()

    def _on_sent(self, event: Any) -> None:
        """Nobody waits for it."""

    def _begin(self, data: bytes) -> None:
        handler = self._handler
        if handler.response_streaming:
            self._task = self._spawn(self._run(lambda: self._stream(handler.unary_stream(data, self))))
        else:
            self._task = self._spawn(self._run(lambda: self._answer(handler.unary_unary(data, self))))

    def _begin_stream(self) -> None:
        handler = self._handler
        self._task = self._spawn(self._run(lambda: self._stream(handler.stream_stream(self._messages(), self))))

    async def _run(self, answer: Callable[[], Coroutine[Any, Any, bytes | None]]) -> None:
        message, self._running = None, True
        try:
            if self._left:
                raise asyncio.CancelledError
            message = await answer()
        except grpc.aio.AbortError:
            pass
        except asyncio.CancelledError:  # the caller has left, or the server ends
            self._code, self._details = grpc.StatusCode.CANCELLED, "cancelled"
        except Exception:
            log.exception("%s: unexpected. This is a bug.", self.method)
            self._code, self._details = grpc.StatusCode.UNKNOWN, "unexpected error"
        self._finish(message)

    async def _answer(self, handling: Coroutine[Any, Any, Any]) -> bytes:
        data: bytes = self._handler.response_serializer(await handling)
        return data

    async def _stream(self, handling: AsyncGenerator[Any, None]) -> None:
        async with aclosing(handling) as responses:  # at once, also where the caller leaves while an answer is sent
            async for response in responses:
                await self._send(self._handler.response_serializer(response))

    async def _messages(self) -> AsyncIterator[bytes]:
        while (data := await self._operate(cygrpc.ReceiveMessageOperation(_NO_FLAGS))) is not None:
            yield data

    async def _send(self, data: bytes) -> None:
        operations = (*self._opening(), cygrpc.SendMessageOperation(data, _NO_FLAGS))
        await self._operate(*operations)

    async def _operate(self, *operations: Any) -> bytes | None:
        """Start operations and wait until they are done; the message, if they receive one."""
        done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def on_done(event: Any) -> None:
            last = event.batch_operations[-1]
            if not done.done():
                done.set_result(last.message() if isinstance(last, cygrpc.ReceiveMessageOperation) else None)

        self._call.start_server_batch(operations, on_done)
        return await done

    def _opening(self) -> tuple[Any, ...]:
        """What goes before everything else."""
        if self._opened:
            return ()
        self._opened = True
        return (cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),)

    def _finish(self, message: bytes | None = None) -> None:
        """Send the last message, if there is one, and the status."""
        sending = () if message is None else (cygrpc.SendMessageOperation(message, _NO_FLAGS),)
        status = cygrpc.SendStatusFromServerOperation(
            *(tuple(self._trailing_metadata), self._code.value[0], self._details.encode(), _NO_FLAGS)
        )
        self._call.start_server_batch((*self._opening(), *sending, status), self._on_sent)
