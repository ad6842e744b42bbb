"""Gives freed memory back to the machine: glibc keeps it, and a model that is gone may have been most of it."""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Return what is free on the heap to the operating system, where the C library can; blocking, some milliseconds."""
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl and macOS have none, and keep less
    if release:
        release(0)
