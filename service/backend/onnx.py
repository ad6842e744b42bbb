"""ONNX Runtime as a backend. With `device`, the only module of the server that reaches it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from service.backend import bfloat16
from service.backend.contract import Device, Signature, Tensors, TensorSpec
from service.backend.device import CPU, CUDA_PROVIDER, provider_options
from service.errors import DeviceError, InferenceError, OutOfMemoryError
from zoo.errors import PackageError

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    bfloat16.BFLOAT16: "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_OUT_OF_MEMORY = re.compile(r"(?i)out of memory|failed to allocate memory|bad.?alloc|ALLOC_FAILED|Available memory of")
_CHUNK_BYTES = 2**20
_NOWHERE = "/nonexistent/external-data-is-refused"


class OnnxBackend:
    """One session of ONNX Runtime."""

    def __init__(self, path: Path, device: Device = CPU, *, threads: int = 1) -> None:
        """Open a model file.

        Args:
            path: the file; data beside it (external data) are refused, since they could lead anywhere.
            device: where to run it.
            threads: cores that one run may use.

        Raises:
            PackageError: ONNX Runtime refuses the file, or it takes or gives what cannot be sent.
            DeviceError: the session does not use the device.
        """
        self._session: Any = _open(path, device, threads)
        provider = self._session.get_providers()[0]
        if provider != device.provider:
            raise DeviceError(f"the model does not run on {device.name}: ONNX Runtime chose {provider}")
        self.device = device
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.signature = make_signature([_axes(node) for node in inputs], [_axes(node) for node in outputs])
        self._has_bfloat16 = bfloat16.has_bfloat16(self.signature)
        self._output_names = [spec.name for spec in self.signature.outputs]
        self._options = onnxruntime.RunOptions()

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        """Run the graph once; `outputs` empty: all.

        Raises:
            InferenceError: ONNX Runtime refused or failed; OutOfMemoryError where memory was what it lacked.
        """
        names = list(outputs) or self._output_names
        try:
            if self._has_bfloat16:
                values = bfloat16.run(self._session, self.signature, names, inputs, self._options)
            else:
                values = self._session.run(names, inputs, self._options)
        except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
            kind = OutOfMemoryError if _is_out_of_memory(exc) else InferenceError
            raise kind(f"{type(exc).__name__}: {_one_line(exc)}") from exc
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def close(self) -> None:
        """End a run that is under way, and give memory back when it has ended."""
        self._options.terminate = True
        self._session = None


Axes = tuple[str, str, tuple[int | str | None, ...]]
"""Name, datatype and shape of a tensor, whose free axes have a name or None."""


def make_signature(inputs: Sequence[Axes], outputs: Sequence[Axes]) -> Signature:
    """Describe a graph and find its batch axis."""
    max_batch = _max_batch(inputs, outputs)
    return Signature(
        tuple(_spec(axes, batched=max_batch != 0) for axes in inputs),
        tuple(_spec(axes, batched=max_batch != 0) for axes in outputs),
        max_batch,
    )


def _max_batch(inputs: Sequence[Axes], outputs: Sequence[Axes]) -> int | None:
    """The batch axis is the first one, if it is free in all tensors, and one and the same in all inputs; or 1 in all
    tensors, for a graph that was exported for single rows."""
    shapes = [shape for _, _, shape in (*inputs, *outputs)]
    if not inputs or not all(shapes):
        return 0
    first = [shape[0] for shape in shapes]
    if all(axis == 1 for axis in first):
        return 1
    names = {axis for axis in first[: len(inputs)] if axis is not None}
    free = not any(isinstance(axis, int) for axis in first)
    return None if free and len(names) <= 1 else 0


def _spec(axes: Axes, *, batched: bool) -> TensorSpec:
    name, datatype, shape = axes
    free = [axis if isinstance(axis, int) else -1 for axis in shape]
    return TensorSpec(name, datatype, (-1, *free[1:]) if batched else tuple(free))


def _axes(node: Any) -> Axes:
    if node.type not in _DATATYPES:
        raise PackageError(
            f"{node.name!r} is a {node.type}, which cannot be sent; export tensors of {', '.join(_DATATYPES.values())}"
        )
    return node.name, _DATATYPES[node.type], tuple(node.shape)


def _open(path: Path, device: Device, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A pool that spins between runs takes the cores from decoding and from the other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Opened from bytes, the session looks for external data in this folder only.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    options.log_severity_level = 4  # what goes wrong is raised, and logged by us
    providers: list[Any] = [CPU.provider]
    if device.provider == CUDA_PROVIDER:
        ordinal = int(device.name.partition(":")[2])
        providers.insert(0, (CUDA_PROVIDER, provider_options(CUDA_PROVIDER, ordinal)))
    try:
        session = onnxruntime.InferenceSession(_source(path), options, providers=providers, enable_fallback=0)
    except OSError as exc:
        raise PackageError(f"{path}: cannot be read: {exc.strerror}") from exc
    except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
        if "xternal" in str(exc):
            raise PackageError(f"{path}: its weights are in other files (external data); export one file") from exc
        raise PackageError(f"{path}: ONNX Runtime refuses it: {_one_line(exc)}") from exc
    session._model_bytes = None  # the session keeps the file in memory otherwise
    return session


def _source(path: Path) -> str | bytes:
    """What ONNX Runtime opens: the file, where it names no other file, else its bytes, which lead nowhere.

    While it reads bytes, ONNX Runtime holds Python's lock, so that the server answers nobody: 0.2 s for 256 MiB.
    """
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            # The key of a tensor's external data; in a vocabulary it is just a word, and costs only time.
            if b"location" in before[-16:] + chunk:
                return path.read_bytes()
            before = chunk
    return str(path)


def _is_out_of_memory(exc: Exception) -> bool:
    return isinstance(exc, MemoryError) or _OUT_OF_MEMORY.search(str(exc)) is not None


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return text if len(text) <= 500 else text[:500] + "..."
