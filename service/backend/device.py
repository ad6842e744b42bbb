"""Which device to run on: a real look, before ONNX Runtime is asked for anything.

onnxruntime-gpu, asked for CUDA on a machine without it, prints errors and silently runs on the CPU. So: is there a
driver with a device, and does a one-node model really run on it? Only then is a device said to work.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime

from service.backend.contract import Device
from service.backend.driver import load_driver
from service.backend.engine import Engine
from service.backend.providers import CPU_PROVIDER, CUDA_PROVIDER, TENSORRT_PROVIDER, cuda_providers, tensorrt_version
from service.errors import DeviceError

log = logging.getLogger(__name__)

CPU = Device("cpu", CPU_PROVIDER)

PROBE_MODEL = bytes.fromhex(
    "08083a320a0b0a017812017922034e65671201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02080142040a0010"
    "0d"
)
"""An ONNX model: y = -x, float32 [1]. tests/service/test_backend.py builds the same with the onnx package."""

_WARNINGS = 2
"""The severity that ONNX Runtime logs from by default."""

CheckCuda = Callable[[int], None]
"""Raises DeviceError where the CUDA device of that number does not work."""


def check_cuda(ordinal: int) -> None:
    """Run something on a CUDA device.

    Raises:
        DeviceError: there is no such device, or ONNX Runtime cannot use it.
    """
    count = load_driver().devices
    if ordinal >= count:
        raise DeviceError(f"there is no CUDA device {ordinal}, this machine has {count}")
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise DeviceError("this ONNX Runtime is built without CUDA; install onnxruntime-gpu instead of onnxruntime")
    _preload_libraries()
    try:
        with _quiet_runtime():
            providers = cuda_providers(ordinal, Engine())
            session = onnxruntime.InferenceSession(PROBE_MODEL, providers=providers, enable_fallback=0)
        if session.get_providers()[0] != CUDA_PROVIDER:
            raise DeviceError(_what_is_missing())
        (negative,) = session.run(None, {"x": np.ones(1, np.float32)})
    except DeviceError:
        raise
    except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
        raise DeviceError(f"CUDA device {ordinal} does not run a model: {str(exc).splitlines()[0]}") from exc
    if negative[0] != -1:
        raise DeviceError(f"CUDA device {ordinal} computes wrong results")


def choose_device(wanted: str, *, tensorrt: bool = False, check: CheckCuda = check_cuda) -> Device:
    """Find the device for "auto", "cpu", "cuda" or "cuda:N"; its note says why it is not a better one.

    Args:
        wanted: as above; auto is the first CUDA device if it works, and the CPU if not.
        tensorrt: whether TensorRT has to be there for a CUDA device.
        check: looks whether a CUDA device works.

    Raises:
        DeviceError: what was asked for by name does not work.
    """
    if wanted == "cpu":
        return CPU
    ordinal = int(wanted.partition(":")[2] or 0)
    try:
        check(ordinal)
    except DeviceError as exc:
        if wanted != "auto":
            raise DeviceError(f"--device {wanted}: {exc.message}; cpu works, auto takes what works") from exc
        return replace(CPU, note=exc.message)
    if tensorrt:
        tensorrt_version()
    return Device(f"cuda:{ordinal}", TENSORRT_PROVIDER if tensorrt else CUDA_PROVIDER)


def _what_is_missing() -> str:
    """Why ONNX Runtime did not take CUDA, which it writes to standard error only.

    Not to be called before it tried: its libraries have to be loaded in its own order, or it crashes.
    """
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as exc:
        way_out = f"pip install 'onnxruntime-gpu[cuda,cudnn]', or install CUDA {onnxruntime.cuda_version} and cuDNN 9"
        return f"ONNX Runtime cannot load its CUDA libraries: {exc}; {way_out}"
    return f"ONNX Runtime does not take CUDA; it is built for CUDA {onnxruntime.cuda_version}, is the driver older?"


def _preload_libraries() -> None:
    """Load CUDA and cuDNN where they are installed as Python packages; what is printed about it goes to the log."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    for line in filter(None, printed.getvalue().splitlines()):
        log.debug("onnxruntime.preload_dlls: %s", line)


@contextlib.contextmanager
def _quiet_runtime() -> Iterator[None]:
    """Within, ONNX Runtime writes nothing to standard error."""
    onnxruntime.set_default_logger_severity(4)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)
