"""inference.GRPCInferenceService: running models on tensors, one request or a stream of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import Any

from inference import grpc_service_pb2 as pb
from service.convert import tensor_responses
from service.convert.tensor_message import TensorRequest
from service.errors import ServiceError, UnexpectedError
from service.servicers.context import deadline_of
from service.servicers.shared_tensors import NOTHING_SHARED, Exchange
from service.servicers.streams import in_order
from service.servicers.tensor_table import TableServicer
from service.telemetry.call import current_call, log_failure

log = logging.getLogger(__name__)

GRPC_ERROR_HEADER = "triton_grpc_error"
"""Request header of a stream: with "true" the first failed request ends the stream with its status."""


class TensorRpcs(TableServicer):
    """ModelInfer and ModelStreamInfer."""

    async def ModelInfer(self, request: TensorRequest, context: Any) -> pb.ModelInferResponse:  # noqa: N802
        """Run a model on tensors."""
        return await self._infer(request, deadline_of(context))

    async def ModelStreamInfer(  # noqa: N802
        self, requests: AsyncIterator[TensorRequest], context: Any
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Run models on a stream of requests; a failed one is answered with its error, and the stream goes on."""
        deadline = deadline_of(context)
        strict = dict(context.invocation_metadata() or ()).get(GRPC_ERROR_HEADER) == "true"
        stream = current_call.get()

        async def answer(request: TensorRequest) -> pb.ModelStreamInferResponse:
            call = replace(stream)
            current_call.set(call)  # its own: the task has a copy of the context
            start = perf_counter()
            try:
                with self._readiness.answering():
                    return pb.ModelStreamInferResponse(infer_response=await self._infer(request, deadline))
            except Exception as exc:
                if strict:  # it ends the stream, which is then counted under the model that failed
                    stream.model, stream.version = call.model, call.version
                    raise
                return tensor_responses.stream_error(request, _known(exc, perf_counter() - start))

        async with aclosing(in_order(requests, answer, self._readiness.stopping)) as responses:
            async for response in responses:
                yield response

    async def _infer(self, request: TensorRequest, rpc_deadline: float | None) -> pb.ModelInferResponse:
        head = request.head
        if head.places is None:
            return await self._run(request, rpc_deadline, NOTHING_SHARED)
        self._find(head.message.model_name, head.message.model_version, head.step)  # or nothing is read
        async with self._memory.exchange(head.places, at_once=head.step is not None) as shared:
            return await self._run(request, rpc_deadline, shared)

    async def _run(self, request: TensorRequest, rpc_deadline: float | None, shared: Exchange) -> pb.ModelInferResponse:
        head = request.head
        model = self._find(head.message.model_name, head.message.model_version, head.step)
        with model.metrics.request():
            with model.metrics.timed("decode"):
                parameters = head.parameters
                form = head.form(model.signature, self._limits, model.max_request_rows)
                inputs = form.read(request.raw)
                if shared.inputs:
                    inputs |= form.read_shared(shared.inputs)
            priority, step = parameters.priority, parameters.step
            deadline = _earlier(rpc_deadline, model.timeout(parameters.timeout_seconds, priority))
            outputs = await model.infer(inputs, tuple(form.wanted), deadline, priority=priority, step=step)
            with model.metrics.timed("encode"):
                return tensor_responses.response(request, model, form.wanted, outputs, shared.outputs)


def _earlier(deadline: float | None, timeout_seconds: float | None) -> float | None:
    """The RPC's deadline or the request's own, whichever comes first."""
    own = None if timeout_seconds is None else asyncio.get_running_loop().time() + timeout_seconds
    return min((time for time in (own, deadline) if time is not None), default=None)


def _known(exc: Exception, seconds: float) -> ServiceError:
    """Log and count it, as the interceptor does with what ends an RPC."""
    call = current_call.get()
    if not isinstance(exc, ServiceError):
        log.error("%s %s: unexpected. This is a bug.", call.request_id, call.method, exc_info=exc)
    error = exc if isinstance(exc, ServiceError) else UnexpectedError()
    call.count_failure(error.code, error.reason)
    log_failure(call, error, seconds)
    return error
