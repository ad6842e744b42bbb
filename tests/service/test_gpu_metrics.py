"""What is told about a GPU. No GPU is needed here, so it is a fake at the seam: NVML itself is asked on a real one only
by tests/gpu."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service import server
from service.backend.contract import Device
from service.backend.driver import Driver
from service.telemetry.gpu import GpuCollector, NvmlGpu, find_gpu
from tests.service.calls import Calls
from tests.service.conftest import Serve

UUID = "GPU-8d41f0cc"


class FakeGpu:
    """Half busy; its power is not known."""

    uuid = UUID

    def utilization(self) -> float | None:
        return 0.5

    def memory_total(self) -> float | None:
        return 8 * 2**30

    def memory_used(self) -> float | None:
        return 2**30

    def power(self) -> float | None:
        return None


class FakeNvml:
    """NVML with one GPU, which is a slice: it does not tell how busy it is."""

    NVMLError = pynvml.NVMLError

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByPciBusId(self, pci_bus_id: str) -> str:  # noqa: N802
        if pci_bus_id != "0000:3B:00.0":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return "handle"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return UUID

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(total=8 * 2**30, used=3 * 2**30)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return 123_400


def test_readings_have_the_names_and_labels_of_triton() -> None:
    registry = CollectorRegistry()
    registry.register(GpuCollector(FakeGpu()))
    labels = {"gpu_uuid": UUID}
    assert registry.get_sample_value("nv_gpu_utilization", labels) == 0.5
    assert registry.get_sample_value("nv_gpu_memory_total_bytes", labels) == 8 * 2**30
    assert registry.get_sample_value("nv_gpu_memory_used_bytes", labels) == 2**30
    assert registry.get_sample_value("nv_gpu_power_usage", labels) is None, "what is not known has no sample"
    assert "# TYPE nv_gpu_power_usage gauge" in generate_latest(registry).decode()


def test_units_of_nvml() -> None:
    gpu = NvmlGpu("0000:3B:00.0", FakeNvml())
    readings = (gpu.uuid, gpu.utilization(), gpu.memory_total(), gpu.memory_used(), gpu.power())
    assert readings == (UUID, None, 8 * 2**30, 3 * 2**30, 123.4)


def test_a_machine_without_nvml_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert find_gpu("0000:99:00.0", FakeNvml()) is None
    assert "no metrics of the GPU (nv_gpu_...): Not Found" in caplog.text


def test_the_real_library_without_a_driver_is_no_error() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert find_gpu("0000:3B:00.0") is None
    else:
        pytest.skip("this machine has NVML")


def test_a_device_is_known_by_its_place() -> None:
    def place(text: Any, size: int, ordinal: int) -> int:
        text.value = f"0000:{ordinal:02X}:00.0".encode()
        return 0

    assert Driver(SimpleNamespace(cuInit=lambda _: 0, cuDeviceGetPCIBusId=place)).pci_bus_id(59) == "0000:3B:00.0"


@pytest.mark.parametrize("driver_works", [True, False])
async def test_a_server_on_cuda_tells_of_its_gpu(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver_works: bool, caplog: pytest.LogCaptureFixture
) -> None:
    status = 0 if driver_works else 3
    driver = Driver(SimpleNamespace(cuInit=lambda _: 0, cuDeviceGetPCIBusId=lambda *_: status))
    monkeypatch.setattr(server, "choose_device", lambda *_, **__: Device("cuda:0", "CUDAExecutionProvider"))
    monkeypatch.setattr(server, "load_driver", lambda: driver)
    monkeypatch.setattr(server, "find_gpu", lambda _: FakeGpu())
    calls = await serve(tmp_path)
    assert await calls.metric("nv_gpu_memory_used_bytes", gpu_uuid=UUID) == (2**30 if driver_works else 0)
    assert ("no metrics of the GPU" in caplog.text) is not driver_works


async def test_a_server_on_the_cpu_tells_nothing_of_a_gpu(calls: Calls) -> None:
    assert "nv_gpu_" not in await calls.scrape()
