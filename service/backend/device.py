"""Which device to run on: a real look, before ONNX Runtime is asked for anything.

onnxruntime-gpu, asked for CUDA on a machine without it, prints errors and silently runs on the CPU. So: is there a
driver with a device, and does a one-node model really run on it? Only then is a device said to work.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from service.backend.contract import Device
from service.errors import DeviceError

log = logging.getLogger(__name__)

CPU = Device("cpu", "CPUExecutionProvider")
CUDA_PROVIDER = "CUDAExecutionProvider"

PROBE_MODEL = bytes.fromhex(
    "08083a320a0b0a017812017922034e65671201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02080142040a0010"
    "0d"
)
"""An ONNX model: y = -x, float32 [1]. tests/service/test_backend.py builds the same with the onnx package."""


@dataclass(frozen=True)
class Choice:
    """The device that will be used, and why it is not a better one."""

    device: Device
    note: str = ""


def choose_device(wanted: str) -> Choice:
    """Find the device for "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        DeviceError: CUDA was asked for by name and does not work.
    """
    if wanted == "cpu":
        return Choice(CPU)
    ordinal = int(wanted.partition(":")[2] or 0)
    try:
        check_cuda(ordinal)
    except DeviceError as exc:
        if wanted != "auto":
            raise DeviceError(f"--device {wanted}: {exc.message}; cpu works, auto takes what works") from exc
        return Choice(CPU, note=exc.message)
    return Choice(Device(f"cuda:{ordinal}", CUDA_PROVIDER))


def check_cuda(ordinal: int) -> None:
    """Run something on a CUDA device.

    Raises:
        DeviceError: there is no such device, or ONNX Runtime cannot use it.
    """
    count = _count_devices()
    if ordinal >= count:
        raise DeviceError(f"there is no CUDA device {ordinal}, this machine has {count}")
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise DeviceError("this ONNX Runtime is built without CUDA; install onnxruntime-gpu instead of onnxruntime")
    _preload_libraries()
    try:
        session = onnxruntime.InferenceSession(
            PROBE_MODEL, providers=[(CUDA_PROVIDER, provider_options(CUDA_PROVIDER, ordinal))], enable_fallback=0
        )
        if session.get_providers()[0] != CUDA_PROVIDER:
            raise DeviceError("ONNX Runtime cannot load its CUDA libraries; CUDA and cuDNN have to be installed")
        (negative,) = session.run(None, {"x": np.ones(1, np.float32)})
    except DeviceError:
        raise
    except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
        raise DeviceError(f"CUDA device {ordinal} does not run a model: {str(exc).splitlines()[0]}") from exc
    if negative[0] != -1:
        raise DeviceError(f"CUDA device {ordinal} computes wrong results")


def provider_options(provider: str, ordinal: int) -> dict[str, Any]:
    """Options of ONNX Runtime for a provider."""
    if provider != CUDA_PROVIDER:
        return {}
    # HEURISTIC: the default, EXHAUSTIVE, spends seconds on the first request of every new shape.
    # kSameAsRequested: the default doubles the arena every time it grows.
    # No TF32: its 10 bits of mantissa are more than the golden samples of a float32 model tolerate.
    return {
        "device_id": str(ordinal),
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }


def _count_devices() -> int:
    """CUDA devices that the driver shows.

    Raises:
        DeviceError: there is no driver, or it shows none.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as exc:
        raise DeviceError("no CUDA device here: the NVIDIA driver (libcuda.so.1) is not installed") from exc
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        raise DeviceError(f"no CUDA device here: the driver shows {count.value} devices (status {status})")
    return count.value


def _preload_libraries() -> None:
    """Load CUDA and cuDNN where they are installed as Python packages; what is printed about it goes to the log."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    for line in filter(None, printed.getvalue().splitlines()):
        log.debug("onnxruntime.preload_dlls: %s", line)
