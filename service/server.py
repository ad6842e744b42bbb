"""Builds the server from its parts, starts it, and stops it.

Nothing else builds anything, but for `service.rpcs`, which makes the RPCs.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import platform
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from time import perf_counter
from types import TracebackType
from typing import Self

from service import triton
from service.backend.device import CPU, choose_device
from service.backend.driver import load_driver
from service.errors import DeviceError, StartError
from service.interceptors.requests import RequestInterceptor
from service.loader import Loader
from service.models.catalog import ModelFolder
from service.models.entry import State
from service.models.loading import LoadedModel
from service.models.model_table import ModelTable
from service.models.polling import Poller
from service.models.readiness import Readiness
from service.models.served_model import ServedModel
from service.rpcs import make_handlers
from service.security.access import Gate
from service.security.quota import Quota
from service.security.tls import load_tls
from service.security.tokens import TokenFile
from service.servicers.shared_tensors import SharedTensors
from service.settings import Settings
from service.shared_memory import Regions
from service.telemetry.gpu import GpuCollector, find_gpu
from service.telemetry.metrics import Metrics
from service.telemetry.metrics_server import MetricsServer, serve_metrics
from service.telemetry.tracing import choose_tracing
from service.transport.opening import open_transport
from zoo.repository import ModelVersion

log = logging.getLogger(__name__)

_REFUSAL_SECONDS = 0.25
"""How long a server that had requests when it was stopped goes on to refuse new ones, before it stops to listen."""
_OBJECTS_BEFORE_COLLECTION = 50_000
"""Requests make no cycles of objects to speak of; Python's 700 cost a tenth of the time of a small one."""
_SWITCH_SECONDS = 0.0002
"""How long a thread that ran a batch may wait for the event loop to let go of Python's lock. With Python's 5 ms it
waits as long as it computed, twice a batch: with 64 callers of a small model the p50 was a quarter longer."""
_FLUSH_SECONDS = 1.0
"""What gRPC gets to send the last answers, and to end streams."""


class Server:
    """A server in this event loop: `async with Server(settings) as server: ...` starts and stops it."""

    def __init__(self, settings: Settings) -> None:
        """Choose the device; nothing listens yet.

        Raises:
            DeviceError: the device that the settings ask for does not work.
            StartError: a certificate or the tokens are not right, or tracing is not installed.
        """
        self.settings = settings
        self._tls = load_tls(settings)
        gate = Gate(
            TokenFile(settings.tokens) if settings.tokens else None,
            admin=settings.admin,
            public_health=settings.public_health,
            public_reflection=settings.public_reflection,
        )
        self._tracing = choose_tracing(settings.otlp_endpoint, name=settings.server_name)
        self.metrics = Metrics()
        self.metrics.build_info.labels(version("menagerie"), platform.python_version()).set(1)
        self._device = choose_device(settings.device, tensorrt=settings.tensorrt)
        self._loader = Loader(settings, self._device)
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._loaders = ThreadPoolExecutor(settings.compute_threads, thread_name_prefix="load")
        self.table = ModelTable(
            *(self._start_model, self.metrics, settings.repository),
            control_mode=settings.control_mode,
            sequence_seconds=settings.sequence_drain_seconds,
            scan=triton.scan,
        )
        self.readiness = Readiness(self.table)
        quota = Quota(max_streams=settings.max_streams, max_bytes=settings.max_inflight_mib * 2**20)
        self._regions = Regions()
        memory = SharedTensors(self._regions, self._decoders, quota, settings)
        handlers = make_handlers(self.table, self.readiness, memory, settings)
        interceptor = RequestInterceptor(handlers, self.metrics, self.readiness, gate, self._tracing, quota, settings)
        self._grpc = open_transport(settings.transport, interceptor.route, _grpc_options(settings))
        self._metrics_server: MetricsServer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self.port = 0
        """Port of gRPC, once started."""

    @property
    def metrics_port(self) -> int:
        """Port of the metrics, once started."""
        return self._metrics_server.port if self._metrics_server else 0

    async def start(self) -> None:
        """Listen, and begin to load.

        Raises:
            RepositoryError: a repository cannot be read.
            StartError: a port is in use.
        """
        settings = self.settings
        found = self.table.discover(_wanted(settings))
        self._metrics_server = serve_metrics(
            self.metrics.registry, settings.host, settings.metrics_port, self._tls.http if self._tls else None
        )
        self.port = self._bind(settings.host, settings.port)
        await self._grpc.start()
        log.info("serving gRPC on %s, metrics on %s", self.address, self.metrics_url)
        if settings.tokens and not self._tls:
            log.warning("tokens come in plain text: on a network, give --tls-certificate and --tls-key")
        self._announce_device()
        self._watch_gpu()
        self._loading = asyncio.create_task(self._load(found))
        if settings.control_mode == "poll":
            poller = Poller(self.table, self.metrics, settings.repository, found)
            self._polling = asyncio.create_task(self._poll(poller))

    async def wait_loaded(self) -> None:
        """Wait until every version is ready or has failed."""
        assert self._loading, "start comes first"
        await asyncio.shield(self._loading)

    async def stop(self) -> None:
        """Say so, refuse new requests, finish those in flight within `drain_seconds`, and give everything back."""
        start = perf_counter()
        self.readiness.drain()
        for task in filter(None, (self._polling, self._loading)):
            task.cancel()
            await asyncio.wait([task])
        if not await self.readiness.wait_idle(0):
            if not await self.readiness.wait_idle(self.settings.drain_seconds):
                log.warning("requests are still in flight after %g s; they fail now", self.settings.drain_seconds)
            # Callers are at it: what they sent meanwhile is refused in words; gRPC's own stop would cut it off.
            await asyncio.sleep(_REFUSAL_SECONDS)
        await self.table.close(0)
        await self._grpc.stop(_FLUSH_SECONDS)
        self._regions.unregister()
        if self._metrics_server:
            await asyncio.to_thread(self._metrics_server.close)
        await asyncio.to_thread(self._tracing.close)
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._loaders.shutdown(wait=False, cancel_futures=True)
        if self._loading:
            log.info("stopped after %.0f ms", 1e3 * (perf_counter() - start))

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        """HOST:PORT of gRPC."""
        return f"{_bracketed(self.settings.host)}:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes."""
        return f"{'https' if self._tls else 'http'}://{_bracketed(self.settings.host)}:{self.metrics_port}/metrics"

    async def _load(self, found: dict[str, ModelFolder]) -> None:
        start = perf_counter()
        await self.table.load_found(found)
        entries = self.table.entries()
        ready = sum(entry.state is State.READY for entry in entries)
        level = logging.INFO if ready else logging.ERROR
        log.log(level, "%d of %d models ready in %.0f ms", ready, len(entries), 1e3 * (perf_counter() - start))
        self.readiness.notify()

    async def _poll(self, poller: Poller) -> None:
        await self.wait_loaded()
        await poller.run(self.settings.poll_seconds)

    async def _start_model(self, found: ModelVersion, config: str) -> ServedModel:
        metrics = self.metrics.for_model(found.name, found.version)
        loaded = await asyncio.get_running_loop().run_in_executor(self._loaders, self._load_model, found, config)
        return ServedModel(found.name, found.version, loaded, self.settings, metrics, self._decoders)

    def _load_model(self, found: ModelVersion, config: str) -> LoadedModel:
        """Load a version as its configuration has it. Blocking."""
        return self._loader.load(found, self._loader.read(found, config))

    def _announce_device(self) -> None:
        device = self._device
        self.metrics.device.labels(device.name, device.provider).set(1)
        self.metrics.device_fallback.set(bool(device.note))
        threads = f"{self.settings.compute_threads} threads" if device == CPU else device.provider
        log.info("device %s (%s)%s", device.name, threads, f": {device.note}" if device.note else "")

    def _watch_gpu(self) -> None:
        if self._device.kind != "cuda":
            return
        try:
            gpu = find_gpu(load_driver().pci_bus_id(self._device.ordinal))
        except DeviceError as exc:
            log.warning("no metrics of the GPU: %s", exc)
            return
        if gpu:
            self.metrics.registry.register(GpuCollector(gpu))

    def _bind(self, host: str, port: int) -> int:
        try:
            if port:  # gRPC would write lines of its own and not say why
                _try_to_bind(host, port, shared=self.settings.shared_port)
            return self._grpc.add_port(f"{_bracketed(host)}:{port}", self._tls.grpc if self._tls else None)
        except (OSError, RuntimeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise StartError(f"cannot listen on {host}:{port}: {reason}; choose another --port, 0 for any") from exc


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully.

    Raises:
        StartError, RepositoryError: the server cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, number)
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION, 20, 20)
    sys.setswitchinterval(_SWITCH_SECONDS)
    async with Server(settings):
        await stop.wait()


def _stop(stop: asyncio.Event, number: signal.Signals) -> None:
    log.info("%s: stopping", number.name)
    stop.set()


def _wanted(settings: Settings) -> tuple[str, ...] | None:
    """Names of the models to load at the start; None: all."""
    return None if settings.control_mode != "explicit" or "*" in settings.load_model else settings.load_model


def _grpc_options(settings: Settings) -> list[tuple[str, int]]:
    # gRPC itself refuses what is far too large; below that the interceptor does, with an error that says what to do.
    hard_limit = min(2 * settings.max_message_bytes + 64 * 2**20, 2**31 - 1)
    return [
        ("grpc.max_receive_message_length", hard_limit),
        ("grpc.max_send_message_length", -1),
        # Beyond so many that wait for the event loop gRPC cancels calls; who is too much is for us to say, in words.
        ("grpc.server.max_pending_requests", 2**20),
        ("grpc.server.max_pending_requests_hard_limit", 2**20),
        # Unless it is asked for, a second server on the port is an error, not a silent half of the traffic.
        ("grpc.so_reuseport", int(settings.shared_port)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),  # clients that keep idle connections alive
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _try_to_bind(host: str, port: int, *, shared: bool) -> None:
    """Raise OSError where that is not possible; without listening, as a shared port would hand over connections."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind((host, port))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
