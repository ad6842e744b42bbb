"""Loads a version as its configuration has it, and else as the server's settings have it."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from service import triton
from service.backend.contract import Backend, Device
from service.backend.device import CPU
from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.errors import DeviceError
from service.memory import trim
from service.models.loading import LoadedModel, load_model
from service.models.model_settings import ModelSettings, Placement
from service.settings import Settings
from zoo.repository import ModelVersion

log = logging.getLogger(__name__)


class Loader:
    """Loads versions onto one device. Blocking; any number of threads may load at a time."""

    def __init__(self, settings: Settings, device: Device) -> None:
        self._settings = settings
        self.device = device

    def read(self, found: ModelVersion, config: str = "") -> ModelSettings:
        """What is set for a model, its runs at a time as the server has them where nothing says how many.

        Args:
            found: the version.
            config: a configuration in JSON, which takes the place of the file; empty: there is none.

        Raises:
            PackageError: the configuration cannot be honoured.
        """
        settings = triton.read_model_settings(found.path.parents[1], config)
        for note in settings.notes:
            log.info("model %s %d: %s", found.name, found.version, note)
        return replace(settings, instances=settings.instances or self._settings.instances)

    def load(self, found: ModelVersion, settings: ModelSettings) -> LoadedModel:
        """Load a version with these settings; errors as `load_model`, and DeviceError where it must run elsewhere."""
        device, threads = self.place(settings), self.threads(settings)
        frugal = device.kind == "cpu" and settings.threads is None and threads > 1
        try:
            return load_model(
                found.path,
                partial(self._open, device=device, engine=self._engine(settings, threads)),
                partial(self._open, device=device, engine=self._engine(settings, 1)) if frugal else None,
                threads=threads,
                max_batch_rows=self._settings.max_batch_size,
                settings=settings,
            )
        finally:
            trim()  # parsing a file and checking a model take more than what is left of them

    def place(self, settings: ModelSettings) -> Device:
        """Where a model runs: on the server's device, or on the CPU if its configuration says so.

        Raises:
            DeviceError: its configuration demands another device.
        """
        device = self.device
        if settings.placement is Placement.CPU:
            return CPU
        if settings.placement is Placement.GPU and device == CPU:
            raise DeviceError(f"instance_group.kind is KIND_GPU, but this server runs on {device.name}")
        if settings.gpus and device != CPU and device.ordinal not in settings.gpus:
            raise DeviceError(f"instance_group.gpus is {list(settings.gpus)}, but this server runs on {device.name}")
        return device

    def threads(self, settings: ModelSettings) -> int:
        """Cores that one run of a model may use, before it proves to be so small that one is enough."""
        return settings.threads or max(self._settings.compute_threads // (settings.instances or 1), 1)

    def _engine(self, model: ModelSettings, threads: int) -> Engine:
        settings = self._settings
        return Engine(
            threads=threads,
            runs=model.instances or 1,
            gpu_memory_bytes=model.gpu_memory_bytes or settings.gpu_memory_mib * 2**20 or None,
            tf32=settings.tf32,
            cuda_graphs=settings.cuda_graphs or model.cuda_graphs,
            tensorrt=settings.tensorrt,
            cache=settings.cache_dir,
        )

    def _open(self, path: Path, *, device: Device, engine: Engine) -> Backend:
        try:
            return OnnxBackend(path, device, engine)
        except DeviceError as exc:
            if self._settings.device != "auto" or device == CPU:
                raise
            log.warning("%s: %s; it runs on the CPU", path, exc)
            return OnnxBackend(path, replace(CPU, note=exc.message), engine)
