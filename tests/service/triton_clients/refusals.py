"""What the scripts beside it have in common, which are run by an interpreter that may have tritonclient only."""

from __future__ import annotations

from collections.abc import Callable

from tritonclient.utils import InferenceServerException


def refused(call: Callable[[], object], text: str, status: str = "") -> None:
    """A call must fail, with this in its message and in its status."""
    try:
        result = call()
    except InferenceServerException as exc:
        assert text in exc.message(), exc
        assert status in exc.status(), exc
    else:
        raise AssertionError(f"not refused with {text!r}: {result}")
