"""ONNX Runtime as a backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from service.backend import bfloat16
from service.backend.beside import SideBySide
from service.backend.binding import BoundRuns
from service.backend.buffers import page_locked
from service.backend.contract import Device, Signature, Tensors
from service.backend.cuda_graphs import GraphRuns
from service.backend.device import CPU
from service.backend.engine import Engine
from service.backend.opening import is_out_of_memory, one_line, open_session
from service.backend.providers import CPU_PROVIDER, cuda_providers
from service.backend.shapes import OutputShapes
from service.backend.signature import Axes, make_signature, read_axes
from service.errors import InferenceError, OutOfMemoryError
from zoo.errors import PackageError

log = logging.getLogger(__name__)

Run = Callable[[Sequence[str], Tensors, Any], list[Any]]
"""As `InferenceSession.run`: wanted outputs, inputs, options of the run -> the outputs in order."""


class OnnxBackend:
    """One session of ONNX Runtime."""

    def __init__(self, path: Path, device: Device = CPU, engine: Engine | None = None) -> None:
        """Open a model file.

        Args:
            path: the file; data beside it (external data) are refused, since they could lead anywhere.
            device: where to run it.
            engine: how to run it; default: on one core.

        Raises:
            PackageError: ONNX Runtime refuses the file, or it takes or gives what cannot be sent.
            DeviceError: the session does not use the device, or does not fit into its memory.
        """
        self.device = device
        engine = engine or Engine()
        session, graphs = _open(path, device, engine)
        self._session: Any = session
        inputs, outputs = _axes(session)
        self.signature = make_signature(inputs, outputs)
        self._run = _choose_run(session, self.signature, OutputShapes(inputs, outputs), device, engine, graphs=graphs)
        self._output_names = [spec.name for spec in self.signature.outputs]
        self._options, self._shrinking = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        arena = "cpu:0" if device.kind == "cpu" else f"gpu:{device.ordinal}"
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", arena)
        self._shrinks = False

    def run(self, inputs: Tensors, outputs: Sequence[str] = ()) -> Tensors:
        """Run the graph once; `outputs` empty: all.

        Raises:
            InferenceError: ONNX Runtime refused or failed; OutOfMemoryError where memory was what it lacked.
        """
        names = list(outputs) or self._output_names
        try:
            values = self._run_tidily(names, inputs)
        except InferenceError:
            raise
        except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
            text = f"{type(exc).__name__}: {one_line(exc)}"
            if not is_out_of_memory(exc):
                raise InferenceError(text) from exc
            self.shrink()  # of what the arena got for it in vain
            raise OutOfMemoryError(text) from exc
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def shrink(self) -> None:
        """Have the next run give back what the arena holds beside the weights; a later one takes what it needs."""
        self._shrinks = True

    def close(self) -> None:
        """End a run that is under way, and give memory back when it has ended."""
        self._options.terminate = self._shrinking.terminate = True
        self._session, self._run = None, _closed

    def _run_tidily(self, names: Sequence[str], inputs: Tensors) -> list[Any]:
        if self._shrinks:
            self._shrinks = False
            try:
                return self._run(names, inputs, self._shrinking)
            except Exception as exc:
                if "arena shrink" not in str(exc):
                    raise
                log.warning("the arena cannot be made smaller: %s", one_line(exc))  # found out before it ran
        return self._run(names, inputs, self._options)


def _axes(session: onnxruntime.InferenceSession) -> tuple[list[Axes], list[Axes]]:
    return [read_axes(node) for node in session.get_inputs()], [read_axes(node) for node in session.get_outputs()]


def _datatypes(signature: Signature) -> set[str]:
    return {spec.datatype for spec in (*signature.inputs, *signature.outputs)}


def _open(path: Path, device: Device, engine: Engine) -> tuple[onnxruntime.InferenceSession, bool]:
    """A session, and whether it has CUDA graphs, which not every model can have."""
    if device.kind == "cpu":
        return open_session(path, [(CPU_PROVIDER, {})], engine.threads), False
    if engine.cuda_graphs:
        try:
            session = open_session(path, cuda_providers(device.ordinal, engine, path), engine.threads)
            axes = _axes(session)
            if OutputShapes(*axes).all_known and not {"BF16", "BYTES"} & _datatypes(make_signature(*axes)):
                return session, True
            reason = "the shape of an output is not known before a run, or there is a tensor of bfloat16 or of strings"
        except PackageError as exc:
            if "graph capture" not in str(exc):
                raise
            reason = "not all of it runs on the GPU"
        log.info("%s: runs without CUDA graphs, as %s", path, reason)
    engine = replace(engine, cuda_graphs=False)
    return open_session(path, cuda_providers(device.ordinal, engine, path), engine.threads), False


def _choose_run(
    session: onnxruntime.InferenceSession,
    signature: Signature,
    shapes: OutputShapes,
    device: Device,
    engine: Engine,
    *,
    graphs: bool,
) -> Run:
    datatypes = _datatypes(signature)
    if "BF16" in datatypes:
        return partial(bfloat16.run, session, signature)
    if device.kind == "cpu" and engine.threads > 1:
        return SideBySide(session, engine.runs)
    if device.kind == "cpu" or "BYTES" in datatypes:  # strings are made by the CPU, one by one
        run: Run = session.run
        return run
    if graphs:
        return GraphRuns(session, shapes, page_locked(device.ordinal), device)
    return BoundRuns(session, shapes, page_locked(device.ordinal))


def _closed(*_: Any) -> list[Any]:
    raise InferenceError("the model is closed")
