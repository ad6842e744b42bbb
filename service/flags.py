"""The command line of the server: a flag for every setting, under a title, with the text of its field."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from service.errors import StartError
from service.settings import ENV_PREFIX, Settings


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


class _Formatter(argparse.HelpFormatter):
    """Keeps the names of flags whole."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


def _parser() -> _Parser:
    parser = _Parser(
        prog="menagerie-serve",
        usage="%(prog)s [--FLAG VALUE ...]",
        description="Serve models over gRPC. `%(prog)s tune` finds out which settings are the fastest on this machine.",
        epilog=f"Each flag can be set in the environment too: --max-batch-size as {ENV_PREFIX}MAX_BATCH_SIZE.",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    for title, names in _groups().items():
        group = parser.add_argument_group(title)
        for name in names:
            _add_flag(group, name, Settings.model_fields[name])
    return parser


def _groups() -> dict[str, list[str]]:
    """Fields by the title that they stand under in --help; one that no title names stands under the last."""
    groups: dict[str, list[str]] = {title: [] for title in (*_TITLES, "more")}
    for name in Settings.model_fields:
        title = next((title for title, names in _TITLES.items() if name in names), "more")
        groups[title].append(name)
    return {title: names for title, names in groups.items() if names}


def _add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    text = " ".join((field.description or "").split())
    unset = any(field.default is value for value in (PydanticUndefined, None, "", False))
    if not unset and "Default" not in text:
        text += f" Default: {'yes' if field.default is True else field.default}."
    text = text.replace("%", "%%")
    if field.annotation is bool:
        group.add_argument(_flag(name), help=text, action=argparse.BooleanOptionalAction, default=None)
        return
    many: dict[str, Any] = {"action": "append"} if get_origin(field.annotation) is tuple else {}
    group.add_argument(_flag(name), help=text, metavar=_METAVARS.get(name, "N"), **many)


_TITLES = {
    "models": {
        *("repository", "device", "control_mode", "load_model", "poll_seconds", "model_metrics"),
    },
    "GPU": {"gpu_memory_mib", "tf32", "cuda_graphs", "tensorrt", "cache_dir"},
    "addresses": {"host", "port", "shared_port", "metrics_port", "server_name"},
    "security": {
        *("insecure", "tls_certificate", "tls_key", "tls_client_ca", "tokens", "public_health", "public_reflection"),
        *("admin", "system_shared_memory"),
    },
    "batches": {
        "max_batch_size",
        "instances",
        "refuse_nan",
        "max_queue_rows",
        "max_queue_seconds",
        "max_delay_ms",
        "decode_threads",
        "compute_threads",
    },
    "limits": {
        *("max_items_per_request", "max_message_mib", "max_inflight_mib", "max_image_pixels", "max_tensor_elements"),
        *("max_tensor_rank", "max_string_bytes", "max_streams", "max_sequences", "sequence_idle_seconds"),
        "sequence_drain_seconds",
        "requests_per_second",
    },
    "operation": {"drain_seconds", "transport", "log_level", "log_format", "otlp_endpoint"},
}
"""What --help shows together. A new field belongs into one of these."""
_METAVARS = {
    "repository": "DIR",
    "cache_dir": "DIR",
    "host": "HOST",
    "device": "DEVICE",
    "server_name": "NAME",
    "transport": "KIND",
    "log_level": "LEVEL",
    "log_format": "FORMAT",
    "tls_certificate": "FILE",
    "tls_key": "FILE",
    "tls_client_ca": "FILE",
    "tokens": "FILE",
    "otlp_endpoint": "URL",
    "control_mode": "MODE",
    "load_model": "NAME",
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _problem(location: tuple[int | str, ...], error: Any) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{_flag(str(location[0]))} {error['input']!r}: {text}" if location else text
