"""W3C trace context in, OpenTelemetry spans out.

Every RPC is a span, a child of the caller's where `traceparent` names one; its decode, queue, compute and encode are
spans below it. OpenTelemetry is an optional extra, imported only where spans are asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from service.errors import StartError
from service.telemetry.call import Call
from service.telemetry.phases import Phase

TRACEPARENT = "traceparent"
_PACKAGES = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-grpc"
"""Of the extra "tracing"."""
_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def trace_id_of(metadata: Mapping[str, Any]) -> str:
    """The caller's trace, 32 hexadecimal digits; empty where it names none, or not as W3C Trace Context wants it."""
    match = _VALID.fullmatch(str(metadata.get(TRACEPARENT, "")))
    return match[1] if match else ""


class Tracing(Protocol):
    """Where spans go."""

    def begin(self, call: Call, metadata: Mapping[str, Any]) -> Any:
        """An RPC begins; sets the trace id of the call, and gives a span for `end`."""
        ...

    def end(self, span: Any, call: Call, code: str, phases: Iterable[Phase]) -> None:
        """The RPC ended with this status; `phases` are its parts."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class NoTracing:
    """Passes the caller's trace id on to the log, and makes no spans."""

    def begin(self, call: Call, metadata: Mapping[str, Any]) -> Any:
        """Note the trace id."""
        call.trace_id = trace_id_of(metadata)

    def end(self, span: Any, call: Call, code: str, phases: Iterable[Phase]) -> None:
        """Nothing to send."""

    def close(self) -> None:
        """Nothing is left."""


class OpenTelemetry:
    """Spans in OpenTelemetry's words."""

    def __init__(self, provider: Any) -> None:
        """Make spans with a TracerProvider."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._provider = provider
        self._tracer = provider.get_tracer("menagerie")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, call: Call, metadata: Mapping[str, Any]) -> Any:
        """Start the span of an RPC."""
        service, _, method = call.method.strip("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        attributes["menagerie.request_id"] = call.request_id
        parent = self._propagator.extract(metadata if trace_id_of(metadata) else {})
        name = call.method.strip("/")
        span = self._tracer.start_span(name, parent, self._trace.SpanKind.SERVER, attributes)
        call.trace_id = f"{span.get_span_context().trace_id:032x}"
        return span

    def end(self, span: Any, call: Call, code: str, phases: Iterable[Phase]) -> None:
        """End it, with a span for each phase."""
        context = self._trace.set_span_in_context(span)
        offset = time.time() - time.perf_counter()
        for name, start, stop in phases:
            child = self._tracer.start_span(name, context, start_time=_nanoseconds(start + offset))
            child.end(_nanoseconds(stop + offset))
        span.set_attribute("rpc.response.status_code", code)
        if call.model:
            span.set_attributes({"menagerie.model": call.model, "menagerie.version": call.version})
        if code in ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "UNKNOWN", "DATA_LOSS"):
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def choose_tracing(endpoint: str, *, name: str) -> Tracing:
    """Spans to an OTLP endpoint, as service `name`; none where the endpoint is empty.

    Raises:
        StartError: OpenTelemetry is not installed.
    """
    if not endpoint:
        return NoTracing()
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as exc:
        text = f"--otlp-endpoint {endpoint}: OpenTelemetry is not installed; pip install {_PACKAGES}"
        raise StartError(text) from exc
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return OpenTelemetry(provider)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
