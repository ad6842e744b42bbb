"""The RPC that is being answered, for those who count and log it. Set by the interceptor, filled in by servicers."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass

from prometheus_client import Counter

from service.errors import InferenceError, ServiceError
from service.telemetry.logs import FIELDS

log = logging.getLogger(__name__)


@dataclass
class Call:
    """What is known about an RPC so far."""

    method: str
    """Full name, e.g. "/menagerie.v1.PredictionService/Forecast"."""
    request_id: str
    """From the caller's x-request-id, or made up here."""
    failures: Counter
    """What failed, by method, model, version, code and reason: RPCs, and single requests of a stream."""
    caller: str = ""
    """Name of the caller's token; empty where it showed none."""
    trace_id: str = ""
    """Of the caller's trace, or of the one that begins here; empty where there is none."""
    model: str = ""
    """Set when the model was found, so that a metric never has a label that a caller made up."""
    version: str = ""
    code: str = "OK"
    """Name of the status that it ends with."""

    def count_failure(self, code: str, reason: str) -> None:
        """It failed, or one request of it did."""
        self.failures.labels(self.method, self.model, self.version, code, reason).inc()


current_call: ContextVar[Call] = ContextVar("current_call")


def log_failure(call: Call, error: ServiceError, seconds: float) -> None:
    """One line, without anything that the caller sent but the names of fields."""
    level = logging.ERROR if error.code == "INTERNAL" else logging.WARNING
    names = " ".join(violation.field[:100] for violation in error.violations[:8])
    detail = error.detail if isinstance(error, InferenceError) else ""
    fields = {
        **{"request_id": call.request_id, "trace_id": call.trace_id, "caller": call.caller, "method": call.method},
        **{"model": call.model, "version": call.version, "code": error.code, "reason": error.reason},
        **{"milliseconds": round(1e3 * seconds, 1), "fields": names, "detail": detail},
    }
    log.log(
        level,
        "%s %s model=%s version=%s %s %s after %.1f ms %s%s",
        *(call.request_id, call.method, call.model or "-", call.version or "-"),
        *(error.code, error.reason, 1e3 * seconds, names, detail and f" {detail}"),
        extra={FIELDS: {key: value for key, value in fields.items() if value != ""}},
    )
