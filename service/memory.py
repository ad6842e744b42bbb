"""What the C library's allocator keeps for itself, where it can be told."""

from __future__ import annotations

import ctypes
from typing import Any

_M_ARENA_MAX = -8
"""From glibc's malloc.h."""


def limit_heaps(count: int) -> None:
    """Let threads share so many heaps, before there are any: glibc makes eight for each core, each of which keeps what
    was freed in it. With as many as cores the bundled zoo takes an eighth less memory on two of them."""
    limit = _function("mallopt")
    if limit:
        limit(_M_ARENA_MAX, count)


def trim() -> None:
    """Return what is free on the heaps to the operating system; blocking, some milliseconds."""
    release = _function("malloc_trim")
    if release:
        release(0)


def _function(name: str) -> Any:
    """None where the C library has none: musl and macOS keep less."""
    return getattr(ctypes.CDLL(None), name, None)
