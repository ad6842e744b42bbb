"""Sequences of requests that cannot go on, or begin."""

from __future__ import annotations

from service.errors.base import ServiceError
from service.errors.requests import RequestError


class SequenceError(RequestError):
    """The model keeps state, and the request does not say which sequence it is a step of."""

    reason = "INVALID_SEQUENCE"


class SequenceNotStartedError(SequenceError):
    """No sequence of that id is alive, and the request does not start one. Existing clients match the text."""

    reason = "SEQUENCE_NOT_STARTED"

    def __init__(self, sequence: object, model: str) -> None:
        super().__init__(
            "parameters[sequence_start]",
            f"inference request for sequence {sequence} to model '{model}' must specify the START flag on the first "
            "request of the sequence",
            metadata={"sequence": sequence, "model": model},
        )


class SequenceBrokenError(ServiceError):
    """An earlier step of the sequence failed while this one waited behind it."""

    code, reason = "ABORTED", "SEQUENCE_BROKEN"

    def __init__(self, sequence: object) -> None:
        super().__init__(
            f"an earlier step of sequence {sequence} failed, and this one was not run; the state is as it was before "
            "that step: send it again, then this one",
            metadata={"sequence": sequence},
        )


class SequenceLostError(ServiceError):
    """The sequence began on a model that was replaced or unloaded, and lasted longer than that one could stay."""

    code, reason = "ABORTED", "SEQUENCE_LOST"

    def __init__(self, model: str, version: int, sequence: object = None) -> None:
        self.name, self.version = model, version
        what = "this stream" if sequence is None else f"sequence {sequence}"
        super().__init__(
            f"{what} began on version {version} of model {model!r} as it was before it was replaced or unloaded, and "
            "lasted longer than the server's --sequence-drain-seconds; its state is gone: start it again",
            metadata={"model": model, "version": version} | ({} if sequence is None else {"sequence": sequence}),
        )


class TooManySequencesError(ServiceError):
    """As many sequences of the model are alive as may be."""

    code, reason = "RESOURCE_EXHAUSTED", "TOO_MANY_SEQUENCES"

    def __init__(self, limit: int, *, retry_seconds: float) -> None:
        super().__init__(
            f"{limit} sequences of the model are alive, which is the limit; end those that are done, or raise the "
            "server's --max-sequences",
            metadata={"limit": limit},
        )
        self.retry_seconds = retry_seconds
