"""Execution providers of ONNX Runtime and their options: CUDA, TensorRT, and the CPU for what is left.

Options and defaults: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html and
https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
"""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path

import onnxruntime

from service.backend.engine import Engine
from service.errors import DeviceError

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"

Provider = tuple[str, dict[str, str]]
"""Name and options."""

_CHUNK_BYTES = 2**20


def cuda_providers(ordinal: int, engine: Engine, model: Path | None = None) -> list[Provider]:
    """The providers for a model on a CUDA device, the preferred one first.

    Raises:
        DeviceError: TensorRT is asked for and not installed.
    """
    providers = [(CUDA_PROVIDER, cuda_options(ordinal, engine)), (CPU_PROVIDER, {})]
    if engine.tensorrt and model:
        providers.insert(0, (TENSORRT_PROVIDER, tensorrt_options(ordinal, engine, model)))
    return providers


def cuda_options(ordinal: int, engine: Engine) -> dict[str, str]:
    """Options of the CUDA provider."""
    # HEURISTIC: the default, EXHAUSTIVE, spends seconds on the first request of every new shape.
    # kSameAsRequested: the default doubles the arena every time it grows, and cannot shrink it again.
    # No TF32 by default: its 10 bits of mantissa are more than the golden samples of a float32 model tolerate.
    options = {
        "device_id": str(ordinal),
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": str(int(engine.tf32)),
        "enable_cuda_graph": str(int(engine.cuda_graphs)),
    }
    if engine.gpu_memory_bytes:
        options["gpu_mem_limit"] = str(engine.gpu_memory_bytes)
    return options


def tensorrt_options(ordinal: int, engine: Engine, model: Path) -> dict[str, str]:
    """Options of the TensorRT provider.

    An engine fits one model, one release of both libraries and one kind of GPU; TensorRT itself checks the last two.

    Raises:
        DeviceError: TensorRT is not installed.
    """
    version = tensorrt_version()
    options = {"device_id": str(ordinal), "trt_cuda_graph_enable": str(int(engine.cuda_graphs))}
    if engine.cache:
        folder = engine.cache / "tensorrt" / f"{file_hash(model)[:32]}-{onnxruntime.__version__}-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }
    return options


def tensorrt_version() -> int:
    """The release of the TensorRT that is installed, e.g. 101300 for 10.13.

    Raises:
        DeviceError: there is none, or this ONNX Runtime is built without it.
    """
    if TENSORRT_PROVIDER not in onnxruntime.get_available_providers():
        raise DeviceError("this ONNX Runtime is built without TensorRT; start without --tensorrt")
    try:
        return int(ctypes.CDLL("libnvinfer.so.10").getInferLibVersion())
    except OSError as exc:
        raise DeviceError(
            f"TensorRT cannot be loaded: {exc}; pip install tensorrt and put its libraries on LD_LIBRARY_PATH, or "
            "start without --tensorrt"
        ) from exc


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
