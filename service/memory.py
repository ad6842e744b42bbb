"""What the C library's allocator keeps for itself, where it can be told."""

from __future__ import annotations

import ctypes
from typing import Any

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 64 * 2**20
"""What a heap keeps of what was freed at its end. By default that goes back to the system at once, and of the time that
32 images in one request (4.8 MB) take, two thirds are spent on pages that are taken and given back."""
_LARGEST_ON_HEAP = 32 * 2**20
"""Larger blocks come from the system, and go back to it; the largest that glibc allows."""


def set_up_heaps(count: int) -> None:
    """Let threads share so many heaps, before there are any, and let these keep what the next request needs again.

    glibc makes eight heaps for each core, each of which keeps what was freed in it. With as many as cores the bundled
    zoo takes an eighth less memory on two of them.
    """
    tell = _function("mallopt")
    if tell:
        tell(_M_ARENA_MAX, count)
        tell(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP)
        tell(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def trim() -> None:
    """Return what is free on the heaps to the operating system; blocking, some milliseconds."""
    release = _function("malloc_trim")
    if release:
        release(0)


def _function(name: str) -> Any:
    """None where the C library has none: musl and macOS keep less."""
    return getattr(ctypes.CDLL(None), name, None)
