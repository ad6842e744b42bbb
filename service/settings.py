"""Settings of the server: one model, from flags and environment alike; the text under each field is its --help text."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.cpus import available_cpus
from service.errors import StartError
from zoo import BUNDLED
from zoo.image import MAX_PIXELS

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
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    """Port of the Prometheus metrics, HTTP /metrics; 0: any free one."""
    device: str = "auto"
    """Where models run: auto, cpu, cuda or cuda:N. auto takes CUDA where it works and says what is in use; cuda
    without a working device is an error."""
    max_batch_size: int = Field(default=32, ge=1, le=4096)
    """Rows that one run of a model may have."""
    max_queue_rows: int = Field(default=1024, ge=1)
    """Rows that may wait for a model; a request that does not fit is refused with RESOURCE_EXHAUSTED."""
    max_delay_ms: float = Field(default=0, ge=0, le=10_000)
    """How long a request may wait for others to share its batch while the model is free; 0: not at all, a batch is what
    has gathered during the run before."""
    max_items_per_request: int = Field(default=256, ge=1)
    """Items (images, texts, tables, rows) of one request."""
    max_message_mib: int = Field(default=64, ge=1, le=1024)
    """Size of one request, in MiB."""
    max_image_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """Pixels of one image, read from its header before it is decoded."""
    drain_seconds: float = Field(default=30, ge=0)
    """How long a stopping server gives the requests in flight."""
    server_name: str = "menagerie"
    """Name in the ServerMetadata of the tensor API; some clients of other servers insist on "triton"."""
    decode_threads: int = Field(default_factory=available_cpus, ge=1)
    """Threads that decode images. Default: the cores that the container grants."""
    compute_threads: int = Field(default_factory=available_cpus, ge=1)
    """Cores that one run of a model may use. Default: the cores that the container grants."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, on standard error."""

    @field_validator("repository", mode="before")
    @classmethod
    def _split_environment(cls, value: object) -> object:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            raise ValueError("use auto, cpu, cuda or cuda:N")
        return value

    @model_validator(mode="after")
    def _queue_takes_a_request(self) -> Settings:
        if self.max_queue_rows < self.max_items_per_request:
            raise ValueError(
                f"max_queue_rows={self.max_queue_rows} is less than max_items_per_request={self.max_items_per_request}"
            )
        return self

    @property
    def max_message_bytes(self) -> int:
        """Size of one request, in bytes."""
        return self.max_message_mib * 2**20


def parse_settings(arguments: Sequence[str] | None = None) -> Settings:
    """Settings from flags (default: those of the process) and environment.

    `--help` prints and raises SystemExit.

    Raises:
        StartError: an unknown flag, or a value that is not valid.
    """
    flags = vars(_parser().parse_args(arguments))
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as exc:
        raise StartError("; ".join(_problem(error["loc"], error) for error in exc.errors())) from exc


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise StartError(f"{message}; see --help")


def _parser() -> _Parser:
    parser = _Parser(
        prog="menagerie-serve",
        description="Serve models over gRPC.",
        epilog=f"Each flag can be set in the environment too: --max-batch-size as {ENV_PREFIX}MAX_BATCH_SIZE.",
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        text = " ".join((field.description or "").split())
        if field.default is not PydanticUndefined and "Default" not in text:
            text += f" Default: {field.default}."
        many: dict[str, Any] = {"action": "append"} if name == "repository" else {}
        parser.add_argument(_flag(name), help=text.replace("%", "%%"), metavar=_METAVARS.get(name, "N"), **many)
    return parser


_METAVARS = {"repository": "DIR", "host": "HOST", "device": "DEVICE", "server_name": "NAME", "log_level": "LEVEL"}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _problem(location: tuple[int | str, ...], error: Any) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{_flag(str(location[0]))} {error['input']!r}: {text}" if location else text
