"""The CUDA driver (libcuda), by ctypes: how many devices there are, their memory, and memory that they can reach.

The driver comes with the kernel module and has had the same calls for a decade; so this needs no package that is built
for one release of CUDA.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import DeviceError

log = logging.getLogger(__name__)

_NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE."""
_PORTABLE = 1
"""CU_MEMHOSTALLOC_PORTABLE: page-locked for all contexts, not only for the one that asks."""


class Driver:
    """The driver, with the contexts that ONNX Runtime uses too (the primary ones)."""

    def __init__(self, library: Any) -> None:
        """Start it.

        Args:
            library: `ctypes.CDLL` of libcuda, or what has the same functions.

        Raises:
            DeviceError: it does not start.
        """
        self._library = library
        self._contexts: dict[int, ctypes.c_void_p] = {}
        if status := library.cuInit(0):
            reason = "shows none" if status == _NO_DEVICE else f"does not start (status {status})"
            raise DeviceError(f"no CUDA device here: the NVIDIA driver {reason}")

    @property
    def devices(self) -> int:
        """Number of devices that the driver shows."""
        count = ctypes.c_int(0)
        self._call("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def name(self, ordinal: int) -> str:
        """The product, e.g. "NVIDIA H200"."""
        text = ctypes.create_string_buffer(128)
        self._call("cuDeviceGetName", text, len(text), ordinal)
        return text.value.decode(errors="replace")

    def pci_bus_id(self, ordinal: int) -> str:
        """Its place in the machine, e.g. "0000:3B:00.0", by which others know it too."""
        text = ctypes.create_string_buffer(32)
        self._call("cuDeviceGetPCIBusId", text, len(text), ordinal)
        return text.value.decode()

    def memory(self, ordinal: int) -> tuple[int, int]:
        """Bytes of a device's memory that are free, and all of them."""
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        with self._current(ordinal):
            self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def page_locked(self, ordinal: int, size: int) -> NDArray[np.uint8]:
        """Bytes of the machine's memory that a device copies from and to without the CPU; freed with the last view.

        Raises:
            DeviceError: there is no more such memory.
        """
        address = ctypes.c_void_p()
        with self._current(ordinal):
            self._call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), _PORTABLE)
        assert address.value is not None, "the driver said that it went well"
        block = (ctypes.c_uint8 * size).from_address(address.value)
        weakref.finalize(block, self._free, ordinal, address).atexit = False  # the process gives all back anyway
        return np.ctypeslib.as_array(block)

    def _free(self, ordinal: int, address: ctypes.c_void_p) -> None:
        with self._current(ordinal):
            self._call("cuMemFreeHost", address)

    @contextmanager
    def _current(self, ordinal: int) -> Iterator[None]:
        """Within, this thread works with a device."""
        if ordinal not in self._contexts:  # kept: with its last user the context would end, and all that is in it
            context = ctypes.c_void_p()
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ordinal)
            self._contexts[ordinal] = context
        self._call("cuCtxPushCurrent_v2", self._contexts[ordinal])
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def _call(self, function: str, *arguments: Any) -> None:
        if status := getattr(self._library, function)(*arguments):
            raise DeviceError(f"the NVIDIA driver refuses {function} (status {status})")


@functools.cache
def load_driver() -> Driver:
    """The driver of this machine.

    Raises:
        DeviceError: there is none, or it does not start.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as exc:
        raise DeviceError("no CUDA device here: the NVIDIA driver (libcuda.so.1) is not installed") from exc
    return Driver(library)
