"""The RPC that is being answered, for those who count and log it. Set by the interceptor, filled in by servicers."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from service.metrics import ModelMetrics


@dataclass
class Call:
    """What is known about an RPC so far."""

    method: str
    """Full name, e.g. "/menagerie.v1.PredictionService/Forecast"."""
    request_id: str
    """From the caller's x-request-id, or made up here."""
    caller: str = ""
    """Name of the caller's token; empty where it showed none."""
    trace_id: str = ""
    """Of the caller's trace, or of the one that begins here; empty where there is none."""
    model: str = ""
    """Set when the model was found, so that a metric never has a label that a caller made up."""
    version: str = ""
    metrics: ModelMetrics | None = None
    code: str = "OK"
    """Name of the status that it ends with."""


current_call: ContextVar[Call] = ContextVar("current_call")
