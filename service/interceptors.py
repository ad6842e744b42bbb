"""Around every RPC: its id, its size, its errors as google.rpc.Status, its metrics, and a log line where it fails."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from service.call import Call, current_call
from service.convert.status import to_status
from service.errors import (
    DrainingError,
    InferenceError,
    MalformedMessageError,
    MessageTooLargeError,
    ServiceError,
    UnexpectedError,
)
from service.metrics import Metrics
from service.readiness import Readiness

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
_STATUS_DETAILS = "grpc-status-details-bin"
_HEALTH = "/grpc.health.v1.Health/"
_GOOD_ID = re.compile(r"[!-~]{1,128}")


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """The one interceptor: an RPC cannot get past a part of it."""

    def __init__(self, metrics: Metrics, readiness: Readiness, *, max_message_bytes: int) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._max_message_bytes = max_message_bytes
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Give the RPC's handler, wrapped."""
        wrapped = self._handlers.get(details.method)
        if wrapped is None:
            handler = await continuation(details)
            if handler is None:  # gRPC answers UNIMPLEMENTED
                return None
            wrapped = self._handlers[details.method] = self._wrap(details.method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        if handler.unary_unary:
            # Without a deserializer the handler gets the bytes, whose size and form it then checks itself.
            return grpc.unary_unary_rpc_method_handler(
                self._answer_unary(method, handler), None, handler.response_serializer
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._answer_stream(method, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        assert handler.stream_stream, "the server has no RPC of the fourth kind"
        return grpc.stream_stream_rpc_method_handler(
            self._answer_stream(method, handler.stream_stream),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _answer_unary(self, method: str, handler: Any) -> Callable[[bytes, Any], Awaitable[Any]]:
        async def answer(data: bytes, context: Any) -> Any:
            with self._readiness.answering():
                async with self._around(method, context):
                    return await handler.unary_unary(self._parse(data, handler.request_deserializer), context)

        return answer

    def _answer_stream(self, method: str, behaviour: Callable[[Any, Any], AsyncIterator[Any]]) -> Any:
        async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
            async with self._around(method, context):
                async for response in behaviour(request, context):
                    yield response

        return answer

    def _parse(self, data: bytes, deserialize: Callable[[bytes], Any]) -> Any:
        if len(data) > self._max_message_bytes:
            raise MessageTooLargeError(len(data), self._max_message_bytes)
        try:
            return deserialize(data)
        except DecodeError as exc:
            raise MalformedMessageError(len(data)) from exc

    @asynccontextmanager
    async def _around(self, method: str, context: Any) -> AsyncIterator[None]:
        call = Call(method, _request_id(context))
        current_call.set(call)
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        start = perf_counter()
        try:
            with self._metrics.in_flight.track_inprogress():
                if self._readiness.draining and not method.startswith(_HEALTH):
                    raise DrainingError
                yield
        except asyncio.CancelledError:
            remaining = context.time_remaining()
            expired = remaining is not None and remaining <= 0
            self._count(call, "DEADLINE_EXCEEDED" if expired else "CANCELLED", "EXPIRED" if expired else "CANCELLED")
            raise
        except grpc.aio.AbortError:  # by a servicer that is not ours, or health
            self._count(call, context.code().name, "ABORTED")
            raise
        except ServiceError as exc:
            await self._fail(call, context, exc, start)
        except Exception:
            log.exception("%s %s: unexpected. This is a bug.", call.request_id, method)
            await self._fail(call, context, UnexpectedError(), start)
        else:
            self._count(call, "OK")
            if call.metrics:
                call.metrics.phase("total", perf_counter() - start)

    async def _fail(self, call: Call, context: Any, error: ServiceError, start: float) -> None:
        self._count(call, error.code, error.reason)
        _log_failure(call, error, perf_counter() - start)
        status = to_status(error, call.request_id)
        trailing = ((REQUEST_ID, call.request_id), (_STATUS_DETAILS, status.SerializeToString()))
        await context.abort(grpc.StatusCode[error.code], status.message, trailing)

    def _count(self, call: Call, code: str, reason: str = "") -> None:
        self._metrics.requests.labels(call.method, call.model, call.version, code).inc()
        if reason:
            self._metrics.errors.labels(call.method, call.model, call.version, code, reason).inc()


def _log_failure(call: Call, error: ServiceError, seconds: float) -> None:
    """One line, without anything that the caller sent but the names of fields."""
    level = logging.ERROR if error.code == "INTERNAL" else logging.WARNING
    fields = " ".join(violation.field for violation in error.violations[:8])
    detail = f" {error.detail}" if isinstance(error, InferenceError) else ""
    log.log(
        level,
        "%s %s model=%s version=%s %s %s after %.1f ms %s%s",
        *(call.request_id, call.method, call.model or "-", call.version or "-"),
        *(error.code, error.reason, 1e3 * seconds, fields, detail),
    )


def _request_id(context: Any) -> str:
    """The caller's, if it can be written into a log as it is, or a new one."""
    given = dict(context.invocation_metadata() or ()).get(REQUEST_ID, "")
    return given if isinstance(given, str) and _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
