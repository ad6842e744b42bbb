"""Between the transport and the handlers: who may call, how much at a time, and how fast."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from service.errors import MalformedMessageError, MessageTooLargeError, ServiceError, UnexpectedError
from service.interceptors.around import Around
from service.models.readiness import Readiness
from service.security.access import HEALTH_RPCS, ROLES, Gate
from service.security.quota import Quota, RateLimit
from service.settings import Settings
from service.telemetry.call import Call
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracing
from service.transport.handlers import Metadata

log = logging.getLogger(__name__)

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
        quota: Quota,
        settings: Settings,
    ) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._readiness = readiness
        self._gate = gate
        self._tracing = tracing
        self._max_message_bytes = settings.max_message_bytes
        self._rate = RateLimit(settings.requests_per_second)
        self._quota = quota
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
                    async with aclosing(handler.unary_stream(request, context)) as responses:
                        async for response in responses:
                            yield response

        return answer

    def _answer_stream(self, method: str, handler: Any, caller: str) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def answer(data: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
            held: deque[int] = deque()
            async with self._around(method, context, caller) as call:
                with self._quota.stream():
                    try:
                        requests = self._read(data, handler.request_deserializer, _client(call, context), held)
                        async with aclosing(handler.stream_stream(requests, context)) as responses:
                            async for response in responses:
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

    def _around(self, method: str, context: Any, caller: str) -> Around:
        draining = self._readiness.draining and method not in HEALTH_RPCS
        return Around(method, context, caller, self._metrics, self._tracing, refused=draining)


def _client(call: Call, context: Any) -> str:
    """Whose rate is counted: the token's name, or else the address without its port."""
    return call.caller or context.peer().rpartition(":")[0]


def _text(metadata: Metadata, key: str) -> str:
    """A header; empty where it is not there, or there more than once: nobody should have to guess which one counts."""
    values = [value for name, value in metadata if name == key]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""
