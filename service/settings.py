"""Settings of the server: one model, from flags and environment alike; the text under each field is its --help text."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.cpus import available_cpus
from zoo import BUNDLED
from zoo.image import MAX_PIXELS
from zoo.repository import check_name

ENV_PREFIX = "MENAGERIE_"


class Settings(BaseSettings):
    """How a server runs. Every field is also a flag (`--max-batch-size`) and an environment variable
    (`MENAGERIE_MAX_BATCH_SIZE`); a flag wins."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    repository: Annotated[tuple[Path, ...], NoDecode, Field(min_length=1)] = (BUNDLED,)
    """Folder of models, <model>/<version>/model.onnx. Repeat the flag for several; in the environment, separate them
    by ':'. Default: the bundled zoo."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on; 0.0.0.0 for all interfaces."""
    port: int = Field(default=8001, ge=0, le=65535)
    """Port of gRPC; 0: any free one."""
    shared_port: bool = False
    """Whether other servers with this flag may listen on the same port: the system then shares the connections among
    them. Each has models, queues and metrics of its own, and an RPC that loads or unloads reaches one of them."""
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    """Port of the Prometheus metrics, HTTP /metrics; 0: any free one."""
    device: str = "auto"
    """Where models run: auto, cpu, cuda or cuda:N. auto takes CUDA where it works and says what is in use; cuda
    without a working device is an error."""
    gpu_memory_mib: int = Field(default=0, ge=0)
    """The most that one model takes of the GPU's memory, in MiB; 0: what it needs. A model's gpu_mem_limit counts
    instead. A batch that needs more is run in halves."""
    tf32: bool = False
    """Whether float32 products on a GPU keep 10 bits of mantissa only: faster, with errors up to 1e-3. A model whose
    golden samples are not reproduced that way is not served."""
    cuda_graphs: bool = False
    """Whether runs on a GPU are recorded once for each batch size and replayed, which is faster for small models, one
    run at a time. Models that do not run on the GPU as a whole do without."""
    tensorrt: bool = False
    """Whether TensorRT runs what it can on a GPU; its libraries have to be there. It builds an engine for each model
    when that is first loaded, which takes minutes; see --cache-dir."""
    cache_dir: Path | None = None
    """Folder for the engines that TensorRT builds, by the hash of the model and the releases of the libraries. Empty:
    they are built at every start."""
    max_batch_size: int = Field(default=32, ge=1, le=4096)
    """Rows that one run of a model may have. On a CPU, a model that takes long for a row gets fewer, 8 at least, or 4
    where a row is a picture: larger batches of those are no faster, and whoever comes next waits longer."""
    instances: int = Field(default=1, ge=1, le=64)
    """Runs of one model at a time, on one session, so that its weights are in memory once; each has its share of
    --compute-threads. A model's instance_group counts instead. With one, a lone request has all cores, and small models
    and those for pictures still use them all where there is more to do; others may be faster with several, see tune."""
    refuse_nan: bool = False
    """Whether a request of the tensor API whose output holds NaN fails; the typed API refuses that anyway."""
    max_queue_rows: int = Field(default=16384, ge=1)
    """Rows that may wait for a model; a request that does not fit is refused with RESOURCE_EXHAUSTED."""
    max_queue_seconds: float = Field(default=30, gt=0, le=86_400)
    """How long the rows that wait for a model may take, as fast as it answered lately. A request that would have them
    take longer is refused, too, but never one that comes when nobody waits."""
    max_delay_ms: float = Field(default=0, ge=0, le=10_000)
    """How long a request may wait for others to share its batch while the model is free; 0: not at all, a batch is what
    has gathered during the run before."""
    max_sequences: int = Field(default=1024, ge=1)
    """Sequences of one model whose state is kept; a further one is refused with RESOURCE_EXHAUSTED."""
    sequence_idle_seconds: float = Field(default=60, gt=0, le=86_400)
    """A sequence is dropped when no step came for so long, where the model does not say otherwise."""
    sequence_drain_seconds: float = Field(default=300, ge=0, le=86_400)
    """How long a model that was replaced or unloaded stays for the sequences and forecast streams that began on it;
    those that last longer end with ABORTED, SEQUENCE_LOST."""
    max_items_per_request: int = Field(default=256, ge=1)
    """Items (images, texts, tables, rows) of one request."""
    max_message_mib: int = Field(default=64, ge=1, le=1024)
    """Size of one request, in MiB."""
    max_image_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """Pixels of one image, read from its header before it is decoded."""
    control_mode: Literal["none", "poll", "explicit"] = "none"
    """How models come and go. none: all are loaded at the start, and nothing changes; poll: the repositories are looked
    at every --poll-seconds, and what is new, changed or gone is loaded or let go; explicit: --load-model at the start,
    then the RPCs RepositoryModelLoad and RepositoryModelUnload, which --admin lets in."""
    load_model: Annotated[tuple[str, ...], NoDecode] = ()
    """Model to load at the start with --control-mode explicit; '*': all. Repeat the flag for several; in the
    environment, separate them by ':'. Default: none."""
    poll_seconds: float = Field(default=15, ge=0.05, le=86_400)
    """How often the repositories are looked at with --control-mode poll; what failed to load is tried again after
    pauses that grow from this to five minutes."""
    drain_seconds: float = Field(default=30, ge=0)
    """How long a stopping server gives the requests in flight."""
    insecure: bool = False
    """Listen on other addresses than the loopback's without TLS: where the network itself is trusted, or a proxy ends
    TLS."""
    tls_certificate: Path | None = None
    """PEM file with the server's certificate, and those of its issuers below the root; gRPC and metrics then speak TLS
    only."""
    tls_key: Path | None = None
    """PEM file with the key of the certificate."""
    tls_client_ca: Path | None = None
    """PEM file with the authorities whose client certificates are let in, on gRPC and metrics; without a certificate of
    theirs nobody connects (mTLS)."""
    tokens: Path | None = None
    """File of bearer tokens: without one of them no RPC is answered. A line is NAME ROLE[,ROLE] TOKEN, with the roles
    predict, read and admin, and the token itself or sha256:HEX of it; a JSON list of objects with name, roles, token
    is read too. Read again when it changes."""
    public_health: bool = True
    """Whether grpc.health.v1, ServerLive and ServerReady answer without a token, as the probes of Kubernetes need
    it."""
    public_reflection: bool = False
    """Whether reflection answers without a token."""
    admin: bool = False
    """Whether the RPCs that change the server are there at all: those that load and unload models."""
    system_shared_memory: bool = False
    """Whether requests of the tensor API may have their tensors in shared memory of this machine. Whoever registers
    memory can read and change all POSIX shared memory that the server's user can; with --tokens, that takes the role
    admin."""
    requests_per_second: float = Field(default=0, ge=0, le=1e6)
    """Requests that one client (its token, or else its address) may send in a second; 0: any number. A stream is
    slowed down to it, any other request above it is refused with RESOURCE_EXHAUSTED."""
    max_tensor_elements: int = Field(default=2**26, ge=1)
    """Elements of one tensor in the tensor API."""
    max_tensor_rank: int = Field(default=16, ge=1, le=64)
    """Axes of one tensor in the tensor API."""
    max_string_bytes: int = Field(default=2**20, ge=1)
    """Bytes of one element of a string tensor."""
    max_streams: int = Field(default=256, ge=1)
    """Streaming RPCs that are open at a time."""
    max_inflight_mib: int = Field(default=1024, ge=1)
    """Size of all requests that are being answered, in MiB."""
    server_name: str = "menagerie"
    """Name in the ServerMetadata of the tensor API; some clients of other servers insist on "triton"."""
    decode_threads: int = Field(default_factory=available_cpus, ge=1)
    """Threads that decode images. Default: the cores that the container grants."""
    compute_threads: int = Field(default_factory=available_cpus, ge=1)
    """Cores that one run of a model may use; a model that takes less than a millisecond for a row uses one, and so many
    full batches at a time. Runs of a model for pictures are side by side, on a core each, where there are several.
    Default: the cores that the container grants."""
    transport: Literal["auto", "core", "aio"] = "auto"
    """What speaks gRPC: core, on the core of grpcio, several times as fast as its asyncio layer; aio, that layer; auto
    takes core, or aio with a line in the log where grpcio's inside has changed."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, on standard error."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object a line. Neither has anything of a request but its id, model and error."""
    otlp_endpoint: str = ""
    """Where OpenTelemetry spans go by OTLP over gRPC, e.g. http://localhost:4317; needs the
    extra "tracing". Empty: none are made; the trace id of a caller's `traceparent` is in the log all the same."""
    model_metrics: bool = True
    """Whether predicted classes, confidence, inputs out of range and drift against the card are measured."""

    @field_validator("repository", "load_model", mode="before")
    @classmethod
    def _split_environment(cls, value: object) -> object:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("load_model")
    @classmethod
    def _model_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name != "*":
                check_name(name)
        return value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            raise ValueError("use auto, cpu, cuda or cuda:N")
        return value

    @model_validator(mode="after")
    def _models_are_loaded_by_name(self) -> Settings:
        if self.load_model and self.control_mode != "explicit":
            raise ValueError(f"--load-model needs --control-mode explicit; {self.control_mode} loads every model")
        return self

    @model_validator(mode="after")
    def _queue_takes_a_request(self) -> Settings:
        if self.max_queue_rows < self.max_items_per_request:
            raise ValueError(
                f"max_queue_rows={self.max_queue_rows} is less than max_items_per_request={self.max_items_per_request}"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key go together; one of them is missing")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("--tls-client-ca needs --tls-certificate and --tls-key")
        return self

    @model_validator(mode="after")
    def _a_request_fits(self) -> Settings:
        if self.max_inflight_mib < self.max_message_mib:
            raise ValueError(
                f"max_inflight_mib={self.max_inflight_mib} is less than max_message_mib={self.max_message_mib}"
            )
        return self

    @model_validator(mode="after")
    def _nobody_listens_in(self) -> Settings:
        if not (is_loopback(self.host) or self.tls_certificate or self.insecure):
            raise ValueError(
                f"--host {self.host} is open to the network: give --tls-certificate and --tls-key, or say --insecure "
                "where the network is trusted"
            )
        return self

    @property
    def max_message_bytes(self) -> int:
        """Size of one request, in bytes."""
        return self.max_message_mib * 2**20


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
