"""Around the answering of one RPC: its id, its span, and what becomes of an error."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
from collections.abc import Mapping
from time import perf_counter
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from service.convert.status import to_status
from service.errors import DrainingError, ServiceError, UnexpectedError
from service.telemetry.call import Call, current_call, log_failure
from service.telemetry.metrics import Metrics
from service.telemetry.phases import traced_phases
from service.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
_STATUS_DETAILS = "grpc-status-details-bin"
_PROCESS_ID, _numbers = secrets.token_hex(8), itertools.count()
_GOOD_ID = re.compile(r"[!-~]{1,128}")


class Around:
    """`async with` around the answering of one RPC: turns what is raised into its status, and counts how it ends."""

    __slots__ = ("_call", "_context", "_metrics", "_phases", "_refused", "_span", "_start", "_tracing")

    def __init__(
        self, method: str, context: Any, caller: str, metrics: Metrics, tracing: Tracing, *, refused: bool
    ) -> None:
        metadata = dict(context.invocation_metadata() or ())
        self._context, self._metrics, self._tracing, self._refused = context, metrics, tracing, refused
        self._call = Call(method, _request_id(metadata), metrics.errors, caller=caller)
        self._span, self._start = tracing.begin(self._call, metadata), perf_counter()

    async def __aenter__(self) -> Call:
        call = self._call
        current_call.set(call)
        self._context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        self._phases = traced_phases() if self._span else ()
        self._metrics.in_flight += 1
        if self._refused:
            await self.__aexit__(DrainingError, DrainingError(), None)
        return call

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._metrics.in_flight -= 1
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
        if isinstance(
            error, (asyncio.CancelledError, GeneratorExit)
        ):  # the caller left: before an answer, or during one
            remaining = self._context.time_remaining()
            expired = remaining is not None and remaining <= 0
            call.code = "DEADLINE_EXCEEDED" if expired else "CANCELLED"
            self._count()
            call.count_failure(call.code, "EXPIRED" if expired else "CANCELLED")
        elif isinstance(error, grpc.aio.AbortError):  # by a servicer that is not ours, or health
            call.code = self._context.code().name
            self._count()
            call.count_failure(call.code, "ABORTED")
        elif isinstance(error, ServiceError):
            await self._fail(error)
        elif isinstance(error, Exception):
            log.error("%s %s: unexpected. This is a bug.", call.request_id, call.method, exc_info=error)
            await self._fail(UnexpectedError())

    async def _fail(self, error: ServiceError) -> None:
        call = self._call
        call.code = error.code
        self._count()
        call.count_failure(error.code, error.reason)
        log_failure(call, error, perf_counter() - self._start)
        status = to_status(error, call.request_id)
        trailing = ((REQUEST_ID, call.request_id), (_STATUS_DETAILS, status.SerializeToString()))
        try:
            await self._context.abort(grpc.StatusCode[error.code], status.message, trailing)
        except grpc.aio.InternalError as exc:  # the caller has left; gRPC would log that with a traceback
            raise asyncio.CancelledError from exc

    def _count(self) -> None:
        call = self._call
        self._metrics.requests.count(call.method, call.model, call.version, call.code)


def _request_id(metadata: Mapping[str, Any]) -> str:
    """The caller's, if it can be written into a log as it is, or a new one."""
    given = metadata.get(REQUEST_ID, "")
    return given if isinstance(given, str) and _GOOD_ID.fullmatch(given) else _new_id()


def _new_id() -> str:
    """Like no other: a random part for the process, and a number."""
    return f"{_PROCESS_ID}{next(_numbers):016x}"
