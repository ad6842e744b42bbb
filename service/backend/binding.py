"""Runs through IO binding: inputs and outputs in memory that stays, page-locked for a GPU.

A copy from ordinary memory goes through a buffer of the driver's, and keeps the CPU busy; from page-locked memory the
GPU fetches it. Where several runs are under way, one copies while another computes: ONNX Runtime gives each run of a
session a stream of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from service.backend.buffers import Allocate, Buffers
from service.backend.contract import Tensors
from service.backend.shapes import OutputShapes


class BoundRuns:
    """Runs a session of numeric tensors; as `session.run`, from any number of threads."""

    def __init__(self, session: Any, shapes: OutputShapes, allocate: Allocate) -> None:
        self._session = session
        self._shapes = shapes
        self._allocate = allocate
        self._free: deque[Buffers] = deque()
        self._proved: set[str] = set()
        """Outputs whose shape was once seen to be the expected one, or not to be."""

    def __call__(self, names: Sequence[str], inputs: Tensors, options: Any) -> list[Any]:
        """Run once; the outputs, in order."""
        try:
            buffers = self._free.pop()
        except IndexError:  # as many as there are runs at a time
            buffers = Buffers(self._allocate)
        try:
            return self._run(buffers, names, inputs, options)
        finally:
            self._free.append(buffers)

    def _run(self, buffers: Buffers, names: Sequence[str], inputs: Tensors, options: Any) -> list[Any]:
        binding = self._session.io_binding()
        for name, value in inputs.items():
            view = buffers.view(f"input {name}", value.shape, value.dtype)
            np.copyto(view, value)
            binding.bind_cpu_input(name, view)
        expected = self._shapes.of(inputs)
        views = {}
        for name in names:
            if name in self._proved and name in expected:
                view = views[name] = buffers.view(f"output {name}", expected[name], self._shapes.dtype(name))
                binding.bind_output(name, "cpu", 0, view.dtype.type, view.shape, view.ctypes.data)
            else:
                binding.bind_output(name)
        self._session.run_with_iobinding(binding, options)
        values = binding.get_outputs()
        outputs = [
            views[name].copy() if name in views else value.numpy() for name, value in zip(names, values, strict=True)
        ]
        if not self._proved.issuperset(names):
            self._shapes.check(expected, dict(zip(names, outputs, strict=True)))
            self._proved.update(names)
        return outputs
