"""Around every RPC: who may call it, its id, its size, its rate, its errors as google.rpc.Status, its metrics,
its span, and a log line where it fails."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from service.convert.status import to_status
from service.errors import (
    DrainingError,
    MalformedMessageError,
    MessageTooLargeError,
    ServiceError,
    UnexpectedError,
)
from service.models.readiness import Readiness
from service.security.access import HEALTH_RPCS, ROLES, Gate
from service.security.quota import Quota, RateLimit
from service.settings import Settings
from service.telemetry.call import Call, current_call, log_failure
from service.telemetry.metrics import Metrics, traced_phases
from service.telemetry.tracing import Tracing
from service.transport.handlers import Metadata

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
_STATUS_DETAILS = "grpc-status-details-bin"
_PROCESS_ID, _numbers = secrets.token_hex(8), itertools.count()
_GOOD_ID = re.compile(r"[!-~]{1,128}")
_UNKNOWN_METHOD = "unknown"
"""Stands in metrics for the names of RPCs that callers made up."""


class RequestInterceptor:
    """Stands around every handler: an RPC cannot get past a part of it."""

    def __init__(
        self,
        handlers: Mapping[str, Any],
        metrics: Metrics,
        readiness: Readiness,
        gate: Gate,
        tracing: Tracing,
        settings: Settings,
    ) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._readiness = readiness
        self._gate = gate
        self._tracing = tracing
        self._max_message_bytes = settings.max_message_bytes
        self._rate = RateLimit(settings.requests_per_second)
        self._quota = Quota(max_streams=settings.max_streams, max_bytes=settings.max_inflight_mib * 2**20)
        # Health may be open to everybody: its watchers must not take the streams of others.
        self._health_quota = Quota(max_streams=settings.max_streams, max_bytes=settings.max_message_bytes)
        self._wrapped: dict[tuple[str, str], Any] = {}

    def route(self, method: str, metadata: Metadata) -> Any:
        """Give the RPC's handler, wrapped; or one that refuses before a byte of the request is read.

        None: there is no such RPC.
        """
        try:
            caller = self._gate.check(method, _text(metadata, "authorization"))
        except ServiceError as exc:
            return self._refusal(method, exc)
        wrapped = self._wrapped.get((method, caller))
        if wrapped is None:
            handler = self._handlers.get(method)
            if handler is None:
                return None
            if method not in ROLES:
                log.error("%s has no role in service.security.access. This is a bug.", method)
                return self._refusal(method, UnexpectedError())
            wrapped = self._wrapped[method, caller] = self._wrap(method, handler, caller)
        return wrapped

    def _refusal(self, method: str, error: ServiceError) -> Any:
        async def refuse(requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ARG001
            async with self._around(method if method in ROLES else _UNKNOWN_METHOD, context, ""):
                raise error
            yield

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _wrap(self, method: str, handler: Any, caller: str) -> Any:
        # Without a deserializer the handler gets the bytes, whose size and form it then checks itself.
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._answer_unary(method, handler, caller), None, handler.response_serializer
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._answer_watch(method, handler, caller), None, handler.response_serializer
            )
        assert handler.stream_stream, "the server has no RPC of the fourth kind"
        return grpc.stream_stream_rpc_method_handler(
            self._answer_stream(method, handler, caller), None, handler.response_serializer
        )

    def _answer_unary(self, method: str, handler: Any, caller: str) -> Callable[[bytes, Any], Awaitable[Any]]:
        quota, limited = self._quota_of(method), self._rate.limited and method not in HEALTH_RPCS

        async def answer(data: bytes, context: Any) -> Any:
            with self._readiness.answering():
                async with self._around(method, context, caller) as call:
                    if limited:
                        self._rate.take(_client(call, context))
                    with quota.request(len(data)):
                        return await handler.unary_unary(self._parse(data, handler.request_deserializer), context)

        return answer

    def _answer_watch(self, method: str, handler: Any, caller: str) -> Callable[[bytes, Any], AsyncIterator[Any]]:
        async def answer(data: bytes, context: Any) -> AsyncIterator[Any]:
            async with self._around(method, context, caller):
                with self._quota_of(method).stream():
                    request = self._parse(data, handler.request_deserializer)
                    async for response in handler.unary_stream(request, context):
                        yield response

        return answer

    def _answer_stream(self, method: str, handler: Any, caller: str) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def answer(data: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
            held: deque[int] = deque()
            async with self._around(method, context, caller) as call:
                with self._quota.stream():
                    try:
                        requests = self._read(data, handler.request_deserializer, _client(call, context), held)
                        async for response in handler.stream_stream(requests, context):
                            if held:  # answers come in the order of the requests
                                self._quota.give_back(held.popleft())
                            yield response
                    finally:
                        self._quota.give_back(sum(held))

        return answer

    async def _read(
        self, stream: AsyncIterator[bytes], deserialize: Callable[[bytes], Any], client: str, held: deque[int]
    ) -> AsyncIterator[Any]:
        """The requests of a stream, no faster than the client may send; the bytes of each are held until its answer."""
        async for data in stream:
            if wait := self._rate.reserve(client):
                await asyncio.sleep(wait)
            self._quota.take(len(data))
            held.append(len(data))
            yield self._parse(data, deserialize)

    def _quota_of(self, method: str) -> Quota:
        return self._health_quota if method in HEALTH_RPCS else self._quota

    def _parse(self, data: bytes, deserialize: Callable[[bytes], Any]) -> Any:
        if len(data) > self._max_message_bytes:
            raise MessageTooLargeError(len(data), self._max_message_bytes)
        try:
            return deserialize(data)
        except DecodeError as exc:
            raise MalformedMessageError(len(data)) from exc

    def _around(self, method: str, context: Any, caller: str) -> _Around:
        draining = self._readiness.draining and method not in HEALTH_RPCS
        return _Around(method, context, caller, self._metrics, self._tracing, refused=draining)


class _Around:
    """`async with` around the answering of one RPC: turns what is raised into its status, and counts how it ends."""

    __slots__ = ("_call", "_context", "_metrics", "_phases", "_refused", "_span", "_start", "_tracing")

    def __init__(
        self, method: str, context: Any, caller: str, metrics: Metrics, tracing: Tracing, *, refused: bool
    ) -> None:
        metadata = dict(context.invocation_metadata() or ())
        self._context, self._metrics, self._tracing, self._refused = context, metrics, tracing, refused
        self._call = Call(method, _request_id(metadata), self._count_failure, caller=caller)
        self._span, self._start = tracing.begin(self._call, metadata), perf_counter()

    async def __aenter__(self) -> Call:
        call = self._call
        current_call.set(call)
        self._context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        self._phases = traced_phases()
        self._metrics.in_flight.inc()
        if self._refused:
            await self.__aexit__(DrainingError, DrainingError(), None)
        return call

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._metrics.in_flight.dec()
        try:
            if error is None:
                self._count()
            else:
                await self._end(error)
        finally:
            self._tracing.end(self._span, self._call, self._call.code, self._phases)

    async def _end(self, error: BaseException) -> None:
        """Count a failure, and give it its status, by raising; what is raised here takes the place of the error."""
        call = self._call
        if isinstance(error, asyncio.CancelledError):
            remaining = self._context.time_remaining()
            expired = remaining is not None and remaining <= 0
            call.code = "DEADLINE_EXCEEDED" if expired else "CANCELLED"
            self._count()
            self._count_reason(call, call.code, "EXPIRED" if expired else "CANCELLED")
        elif isinstance(error, grpc.aio.AbortError):  # by a servicer that is not ours, or health
            call.code = self._context.code().name
            self._count()
            self._count_reason(call, call.code, "ABORTED")
        elif isinstance(error, ServiceError):
            await self._fail(error)
        elif isinstance(error, Exception) and not isinstance(error, StopAsyncIteration):
            log.error("%s %s: unexpected. This is a bug.", call.request_id, call.method, exc_info=error)
            await self._fail(UnexpectedError())

    async def _fail(self, error: ServiceError) -> None:
        call = self._call
        call.code = error.code
        self._count()
        self._count_failure(call, error)
        log_failure(call, error, perf_counter() - self._start)
        status = to_status(error, call.request_id)
        trailing = ((REQUEST_ID, call.request_id), (_STATUS_DETAILS, status.SerializeToString()))
        try:
            await self._context.abort(grpc.StatusCode[error.code], status.message, trailing)
        except grpc.aio.InternalError as exc:  # the caller has left; gRPC would log that with a traceback
            raise asyncio.CancelledError from exc

    def _count(self) -> None:
        call = self._call
        self._metrics.requests.labels(call.method, call.model, call.version, call.code).inc()

    def _count_failure(self, call: Call, error: ServiceError) -> None:
        self._count_reason(call, error.code, error.reason)

    def _count_reason(self, call: Call, code: str, reason: str) -> None:
        self._metrics.errors.labels(call.method, call.model, call.version, code, reason).inc()


def _request_id(metadata: Mapping[str, Any]) -> str:
    """The caller's, if it can be written into a log as it is, or a new one."""
    given = metadata.get(REQUEST_ID, "")
    return given if isinstance(given, str) and _GOOD_ID.fullmatch(given) else _new_id()


def _new_id() -> str:
    """Like no other: a random part for the process, and a number."""
    return f"{_PROCESS_ID}{next(_numbers):016x}"


def _client(call: Call, context: Any) -> str:
    """Whose rate is counted: the token's name, or else the address without its port."""
    return call.caller or context.peer().rpartition(":")[0]


def _text(metadata: Metadata, key: str) -> str:
    """A header; empty where it is not there, or there more than once: nobody should have to guess which one counts."""
    values = [value for name, value in metadata if name == key]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""
