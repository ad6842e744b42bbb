"""The GPU that models run on: how busy it is, its memory and its power, by the names that Triton's dashboards know.

Asked of NVML, the library of NVIDIA's driver, whenever Prometheus scrapes. What a GPU does not tell (a slice of one
under MIG has no utilization) has no sample; where NVML is missing there are none at all, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

_LABELS = ("gpu_uuid",)


class Gpu(Protocol):
    """One GPU. A reading is None where there is none."""

    @property
    def uuid(self) -> str:
        """Its name in the world, "GPU-...", as nvidia-smi shows it."""
        ...

    def utilization(self) -> float | None:
        """Part of the last moments in which it computed, 0 to 1."""
        ...

    def memory_total(self) -> float | None:
        """Bytes."""
        ...

    def memory_used(self) -> float | None:
        """Bytes that are taken, by whatever process."""
        ...

    def power(self) -> float | None:
        """Watts."""
        ...


_READINGS: dict[str, tuple[str, Callable[[Gpu], float | None]]] = {
    "nv_gpu_utilization": ("Part of the time that the GPU computes", lambda gpu: gpu.utilization()),
    "nv_gpu_memory_total_bytes": ("Memory of the GPU", lambda gpu: gpu.memory_total()),
    "nv_gpu_memory_used_bytes": ("Memory of the GPU that is in use", lambda gpu: gpu.memory_used()),
    "nv_gpu_power_usage": ("Power that the GPU takes, in watts", lambda gpu: gpu.power()),
}


class GpuCollector(Collector):
    """Reads a GPU at every scrape."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All samples."""
        for name, (text, read) in _READINGS.items():
            family = GaugeMetricFamily(name, text, labels=_LABELS)
            value = read(self._gpu)
            if value is not None:
                family.add_metric((self._gpu.uuid,), value)
            yield family


class NvmlGpu:
    """A GPU as NVML sees it."""

    def __init__(self, pci_bus_id: str, nvml: Any) -> None:
        """Look for it.

        Args:
            pci_bus_id: its place in the machine, e.g. "00000000:3B:00.0": CUDA numbers devices in an order of its own.
            nvml: the library, by the names of `pynvml`.

        Raises:
            nvml.NVMLError: there is no NVML, or no such GPU.
        """
        self._nvml = nvml
        nvml.nvmlInit()
        self._handle = nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id)
        self.uuid: str = nvml.nvmlDeviceGetUUID(self._handle)

    def utilization(self) -> float | None:
        """As NVML has it, in percent."""
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return None if rates is None else rates.gpu / 100

    def memory_total(self) -> float | None:
        """Of the whole GPU."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else float(memory.total)

    def memory_used(self) -> float | None:
        """Of the whole GPU."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else float(memory.used)

    def power(self) -> float | None:
        """As NVML has it, in milliwatts."""
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        return None if milliwatts is None else milliwatts / 1e3

    def _ask(self, function: str) -> Any:
        try:
            return getattr(self._nvml, function)(self._handle)
        except self._nvml.NVMLError as exc:  # not supported, or the GPU is lost, which health tells
            log.debug("%s: %s", function, exc)
            return None


def find_gpu(pci_bus_id: str, nvml: Any = None) -> Gpu | None:
    """The GPU at a place of the machine; None, with a line in the log, where NVML cannot be asked."""
    nvml = nvml or import_module("pynvml")  # more than a MiB, which servers without a GPU do without
    try:
        return NvmlGpu(pci_bus_id, nvml)
    except nvml.NVMLError as exc:
        log.warning("no metrics of the GPU (nv_gpu_...): %s", exc)
        return None
