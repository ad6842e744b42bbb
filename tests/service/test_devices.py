"""Which device a server runs on, with a driver that says what the test wants; and the options of the providers."""

from __future__ import annotations

import ctypes
import logging
import mmap
import re
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from inference import grpc_service_pb2 as pb
from menagerie.v1 import model_pb2, model_service_pb2
from service.backend.contract import Device
from service.backend.device import CPU, check_cuda, choose_device
from service.backend.driver import Driver
from service.backend.engine import Engine
from service.backend.onnx import OnnxBackend
from service.backend.providers import (
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    cuda_options,
    cuda_providers,
    tensorrt_options,
    tensorrt_version,
)
from service.cpus import available_cpus
from service.errors import DeviceError
from service.server import Server
from service.settings import Settings
from tests.service.calls import Calls
from tests.service.conftest import Serve


class FakeLibrary:
    """libcuda with two devices of 8 GiB; it counts what it is asked to hold."""

    def __init__(self, *, start: int = 0) -> None:
        self.start = start
        self.contexts: list[int] = []
        self.blocks: dict[int, Any] = {}

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.start

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 2
        return 0

    def cuDeviceGetName(self, text: Any, size: int, ordinal: int) -> int:  # noqa: N802
        text.value = f"Fake {ordinal}".encode()
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, ordinal: int) -> int:  # noqa: N802
        if ordinal > 1:
            return 101
        context._obj.value = 1000 + ordinal
        return 0

    def cuCtxPushCurrent_v2(self, context: ctypes.c_void_p) -> int:  # noqa: N802
        assert context.value is not None
        self.contexts.append(context.value)
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:  # noqa: N802
        self.contexts.pop()
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        assert self.contexts == [1001], "of the device that is asked for"
        free._obj.value, total._obj.value = 5 * 2**30, 8 * 2**30
        return 0

    def cuMemHostAlloc(self, address: Any, size: ctypes.c_size_t, flags: int) -> int:  # noqa: N802
        if size.value > 2**20:
            return 2  # out of memory
        block = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(block)
        self.blocks[ctypes.addressof(block)] = block
        return 0

    def cuMemFreeHost(self, address: ctypes.c_void_p) -> int:  # noqa: N802
        assert address.value is not None
        del self.blocks[address.value]
        return 0


def test_the_driver_is_asked_for_devices_and_memory() -> None:
    driver = Driver(FakeLibrary())
    assert driver.devices == 2
    assert driver.name(1) == "Fake 1"
    assert driver.memory(1) == (5 * 2**30, 8 * 2**30)
    with pytest.raises(DeviceError, match=r"cuDevicePrimaryCtxRetain \(status 101\)"):
        driver.memory(5)
    for status, reason in {100: "shows none", 3: "does not start (status 3)"}.items():
        with pytest.raises(DeviceError, match=re.escape(f"no CUDA device here: the NVIDIA driver {reason}")):
            Driver(FakeLibrary(start=status))


def test_page_locked_memory_lives_as_long_as_its_views() -> None:
    library = FakeLibrary()
    driver = Driver(library)
    memory = driver.page_locked(0, 64)
    memory[:] = 7
    view = memory[8:16].view("<u4")
    del memory
    assert len(library.blocks) == 1
    assert view.tolist() == [0x07070707] * 2
    del view
    assert library.blocks == {}
    assert library.contexts == []
    with pytest.raises(DeviceError, match=r"cuMemHostAlloc \(status 2\)"):
        driver.page_locked(0, 2**21)


def works(ordinal: int) -> None:
    """The check of a machine whose devices all work."""


def broken(ordinal: int) -> None:
    """The check of a machine where none does."""
    raise DeviceError(f"CUDA device {ordinal} does not run a model: bad luck")


def test_the_first_device_that_works_is_taken_or_the_one_that_is_named() -> None:
    assert choose_device("auto", check=works).name == "cuda:0"
    assert choose_device("cuda", check=works).name == "cuda:0"
    second = choose_device("cuda:1", check=works)
    assert (second.name, second.kind, second.ordinal, second.provider) == ("cuda:1", "cuda", 1, CUDA_PROVIDER)
    assert choose_device("cpu", check=works) == CPU


def test_auto_falls_back_and_says_why_while_cuda_insists() -> None:
    device = choose_device("auto", check=broken)
    assert device == CPU
    assert device.note == "CUDA device 0 does not run a model: bad luck"
    with pytest.raises(
        DeviceError, match=r"--device cuda:3: CUDA device 3 .*bad luck; cpu works, auto takes what works"
    ):
        choose_device("cuda:3", check=broken)


def test_this_machine_is_really_looked_at() -> None:
    device = choose_device("auto")
    if device == CPU:
        assert "CUDA" in device.note
        with pytest.raises(DeviceError, match=r"CUDA|NVIDIA"):
            check_cuda(0)
    else:
        check_cuda(device.ordinal)
    with pytest.raises(DeviceError, match=r"--device cuda:99: .*CUDA.*cpu works"):
        choose_device("cuda:99")


def test_options_of_cuda() -> None:
    plain = cuda_options(1, Engine())
    assert plain["device_id"] == "1"
    assert plain["arena_extend_strategy"] == "kSameAsRequested"
    assert plain["cudnn_conv_algo_search"] == "HEURISTIC"
    assert (plain["use_tf32"], plain["enable_cuda_graph"]) == ("0", "0")
    assert "gpu_mem_limit" not in plain
    chosen = cuda_options(0, Engine(tf32=True, cuda_graphs=True, gpu_memory_bytes=2**30))
    assert (chosen["use_tf32"], chosen["enable_cuda_graph"], chosen["gpu_mem_limit"]) == ("1", "1", str(2**30))
    assert [name for name, _ in cuda_providers(0, Engine())] == [CUDA_PROVIDER, CPU.provider]


def test_the_installed_runtime_knows_the_options() -> None:
    """A name that it does not know would be an error on a machine with a GPU only."""
    libraries = Path(onnxruntime.__file__).parent / "capi"
    engine = Engine(gpu_memory_bytes=1)
    for library, names in {
        "libonnxruntime_providers_cuda.so": cuda_options(0, engine),
        "libonnxruntime_providers_tensorrt.so": (
            "trt_engine_cache_path",
            "trt_timing_cache_path",
            "trt_cuda_graph_enable",
        ),
    }.items():
        if not (libraries / library).exists():
            pytest.skip("this ONNX Runtime is built without CUDA")
        with (libraries / library).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            assert [name for name in names if data.find(name.encode()) < 0] == [], library


def test_tensorrt_keeps_its_engines_by_model_and_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = tmp_path / "model.onnx", tmp_path / "other.onnx"
    model.write_bytes(b"a model")
    other.write_bytes(b"another")
    monkeypatch.setattr("service.backend.providers.tensorrt_version", lambda: 101300)
    engine = Engine(tensorrt=True, cache=tmp_path / "cache")
    folders = [Path(tensorrt_options(0, engine, path)["trt_engine_cache_path"]) for path in (model, other, model)]
    assert folders[0] == folders[2] != folders[1]
    assert folders[0].is_dir()
    assert folders[0].name.endswith(f"-{onnxruntime.__version__}-101300")
    assert "trt_engine_cache_enable" not in tensorrt_options(0, Engine(tensorrt=True), model)
    assert [name for name, _ in cuda_providers(0, engine, model)] == [TENSORRT_PROVIDER, CUDA_PROVIDER, CPU.provider]


def test_tensorrt_that_is_not_there_is_an_error() -> None:
    try:
        tensorrt_version()
    except DeviceError as exc:
        assert "start without --tensorrt" in exc.message
        with pytest.raises(DeviceError, match=r"TensorRT"):
            choose_device("auto", tensorrt=True, check=works)
    assert choose_device("auto", tensorrt=True, check=broken) == CPU


def test_a_server_that_must_have_cuda_does_not_start_without() -> None:
    if choose_device("auto") != CPU:
        pytest.skip("there is a CUDA device here")
    with pytest.raises(DeviceError, match=r"--device cuda: no CUDA device here"):
        Server(Settings(device="cuda", port=0, metrics_port=0))


async def test_auto_says_where_models_run_and_why(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    if choose_device("auto") != CPU:
        pytest.skip("there is a CUDA device here")
    caplog.set_level(logging.INFO, "service.server")
    calls = await serve(device="auto")
    described = await calls.models.GetModel(model_service_pb2.GetModelRequest(model=model_pb2.ModelRef(name="moods")))
    assert (described.model.device, described.model.execution_provider) == ("cpu", "CPUExecutionProvider")
    assert described.model.device_note.startswith("no CUDA device here: ")
    parameters = (await calls.inference.ModelConfig(pb.ModelConfigRequest(name="moods"))).config.parameters
    assert parameters["device_note"].string_value == described.model.device_note
    assert f"device cpu ({available_cpus()} threads): no CUDA device here: " in caplog.text
    assert await calls.metric("menagerie_device_fallback") == 1


async def test_a_cpu_that_was_asked_for_is_no_fall_back(calls: Calls) -> None:
    described = await calls.models.GetModel(model_service_pb2.GetModelRequest(model=model_pb2.ModelRef(name="moods")))
    assert described.model.device_note == ""
    assert await calls.metric("menagerie_device_fallback") == 0


@pytest.fixture
def full_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that believes in a GPU, whose memory is too small for any model but `words`."""

    def open_model(path: Path, device: Device, engine: Engine) -> OnnxBackend:
        if device.kind == "cuda" and "words" not in path.parts:
            raise DeviceError("the model does not fit into the memory that is free")
        backend = OnnxBackend(path, CPU, engine)
        backend.device = device
        return backend

    def choose(wanted: str, *, tensorrt: bool = False) -> Device:
        return Device("cuda:0", CUDA_PROVIDER)

    monkeypatch.setattr("service.loader.OnnxBackend", open_model)
    monkeypatch.setattr("service.server.choose_device", choose)
    monkeypatch.setattr("service.server.Server._watch_gpu", lambda self: None)


@pytest.mark.usefixtures("full_gpu")
async def test_a_model_that_the_gpu_has_no_room_for_runs_on_the_cpu_with_auto(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    calls = await serve(device="auto")
    devices = {entry.name: entry.model.device for entry in calls.server.table.entries() if entry.model}
    assert devices.pop("words").name == "cuda:0"
    assert set(devices.values()) == {CPU}
    assert {device.note for device in devices.values()} == {"the model does not fit into the memory that is free"}
    assert "it runs on the CPU" in caplog.text
    assert await calls.metric("menagerie_model_device", model="moods", device="cpu") == 1
    assert await calls.metric("menagerie_model_device", model="words", device="cuda:0") == 1
    assert await calls.metric("menagerie_device", device="cuda:0") == 1


@pytest.mark.usefixtures("full_gpu")
async def test_a_model_that_the_gpu_has_no_room_for_is_not_served_with_cuda(serve: Serve) -> None:
    calls = await serve(device="cuda")
    reasons = {entry.name: entry.reason for entry in calls.server.table.entries()}
    assert reasons.pop("words") == ""
    assert set(reasons.values()) == {"the model does not fit into the memory that is free"}
