"""Runs that are recorded once and replayed: a CUDA graph for each set of input shapes.

A small network on a large GPU spends most of its time on the launch of its kernels, one by one, by the CPU; a recorded
graph is launched as a whole. It works on the addresses that it was recorded with, so that inputs are copied to, and
outputs from, memory on the GPU that stays. ONNX Runtime keeps graphs by the thread that recorded them, and replays one
at a time: all runs of a session go through one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime

from service.backend.buffers import Allocate, Buffers
from service.backend.contract import Device, Tensors
from service.backend.shapes import OutputShapes, Shape

MOST_GRAPHS = 16
"""Sets of shapes with a graph of their own, as each holds memory of the GPU; others run without one."""
_NO_GRAPH = -1
"""ONNX Runtime neither records nor replays a run with this graph id."""


class GraphRuns:
    """Runs a session that was opened with CUDA graphs; as `session.run`, from any number of threads.

    The shapes of all outputs have to be known before a run.
    """

    def __init__(self, session: Any, shapes: OutputShapes, allocate: Allocate, device: Device) -> None:
        self._session = session
        self._shapes = shapes
        self._allocate = allocate
        self._device = device
        self._graphs: dict[tuple[Shape, ...], _Graph] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cuda-graphs")

    @property
    def count(self) -> int:
        """Graphs that are recorded."""
        return len(self._graphs)

    def __call__(self, names: Sequence[str], inputs: Tensors, options: Any) -> list[Any]:  # noqa: ARG002
        """Run once; the outputs, in order. A replay is too short to be worth ending: options are passed over."""
        outputs = self._thread.submit(self._run, inputs).result()
        return [outputs[name] for name in names]

    def _run(self, inputs: Tensors) -> Tensors:
        key = tuple(value.shape for value in inputs.values())
        if graph := self._graphs.get(key):
            return graph.run(inputs)
        if len(self._graphs) == MOST_GRAPHS:
            return self._make(inputs, _NO_GRAPH).run(inputs)
        graph = self._make(inputs, 1 + len(self._graphs))
        outputs = graph.run(inputs)
        self._graphs[key] = graph  # a run that failed has recorded nothing
        return outputs

    def _make(self, inputs: Tensors, number: int) -> _Graph:
        expected = self._shapes.of(inputs)
        outputs = {name: (shape, self._shapes.dtype(name)) for name, shape in expected.items()}
        return _Graph(self._session, number, inputs, outputs, self._allocate, self._device)


class _Graph:
    """Memory on the GPU for inputs of certain shapes, and the run that works on it."""

    def __init__(
        self,
        session: Any,
        number: int,
        inputs: Tensors,
        outputs: dict[str, tuple[Shape, np.dtype[np.generic]]],
        allocate: Allocate,
        device: Device,
    ) -> None:
        self._session = session
        self._staging = Buffers(allocate)
        self._binding = session.io_binding()
        self._inputs = {name: _on(device, value.shape, value.dtype) for name, value in inputs.items()}
        self._outputs = {name: _on(device, *what) for name, what in outputs.items()}
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(number))

    def run(self, inputs: Tensors) -> Tensors:
        for name, value in inputs.items():
            staged = self._staging.view(name, value.shape, value.dtype)
            np.copyto(staged, value)
            self._inputs[name].update_inplace(staged)
        self._session.run_with_iobinding(self._binding, self._options)
        return {name: np.array(value.numpy()) for name, value in self._outputs.items()}


def _on(device: Device, shape: Shape, dtype: np.dtype[np.generic]) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype.type, device.kind, device.ordinal)
