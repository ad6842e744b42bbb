"""From a file to a session of ONNX Runtime: the options, and what a file may not do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from service.backend.providers import Provider
from service.errors import DeviceError
from zoo.errors import PackageError

_OUT_OF_MEMORY = re.compile(r"(?i)out of memory|failed to allocate memory|bad.?alloc|ALLOC_FAILED|Available memory of")
_CHUNK_BYTES = 2**20
_NOWHERE = "/nonexistent/external-data-is-refused"


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options of every session; what each brings is measured by tests/benchmarks/session_options.py.

    Args:
        threads: cores that one run may use.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A plan of the memory for each shape keeps a block for each, beside what its first run took: with batches of all
    # sizes that is twice the memory, and no faster.
    options.enable_mem_pattern = False
    # A pool that spins between runs takes the cores from decoding and from the other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Opened from bytes, the session looks for external data in this folder only.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    options.log_severity_level = 4  # what goes wrong is raised, and logged by us
    return options


def open_session(path: Path, providers: Sequence[Provider], threads: int) -> onnxruntime.InferenceSession:
    """Open a model file.

    Args:
        path: the file; data beside it (external data) are refused, since they could lead anywhere.
        providers: the preferred one first.
        threads: cores that one run may use.

    Raises:
        PackageError: the file cannot be read, or ONNX Runtime refuses it.
        DeviceError: it does not fit into the memory, or the session does not use the preferred provider.
    """
    options, wanted = session_options(threads), providers[0][0]
    try:
        session = onnxruntime.InferenceSession(_source(path), options, providers=list(providers), enable_fallback=0)
    except OSError as exc:
        raise PackageError(f"{path}: cannot be read: {exc.strerror}") from exc
    except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
        if is_out_of_memory(exc):
            raise DeviceError(f"the model does not fit into the memory that is free: {one_line(exc)}") from exc
        if "xternal" in str(exc):
            raise PackageError(f"{path}: its weights are in other files (external data); export one file") from exc
        raise PackageError(f"{path}: ONNX Runtime refuses it: {one_line(exc)}") from exc
    if session.get_providers()[0] != wanted:
        raise DeviceError(f"the model does not run on {wanted}: ONNX Runtime chose {session.get_providers()[0]}")
    session._model_bytes = None  # the session keeps the file in memory otherwise
    return session


def is_out_of_memory(exc: Exception) -> bool:
    """Whether ONNX Runtime failed for want of memory, which it says in words only."""
    return isinstance(exc, MemoryError) or _OUT_OF_MEMORY.search(str(exc)) is not None


def one_line(exc: Exception) -> str:
    """The text of a foreign error, short enough for a log."""
    text = " ".join(str(exc).split())
    return text if len(text) <= 500 else text[:500] + "..."


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
