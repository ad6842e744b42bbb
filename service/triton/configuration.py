"""From the text of a `config.pbtxt` (or the JSON of a load request) to `ModelSettings`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from google.protobuf import json_format, text_format

from inference.model_config_pb2 import (
    ModelConfig,
    ModelDynamicBatching,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelQueuePolicy,
    ModelVersionPolicy,
)
from service.models.model_settings import (
    DEFAULTS,
    Claim,
    ModelSettings,
    Placement,
    Priorities,
    QueuePolicy,
)
from service.triton.fields import check_fields
from service.triton.files import check_file_name, read_file, read_lines
from service.triton.sequences import sequence_delay_seconds, sequence_settings
from service.triton.values import datatype_name
from service.triton.warm_ups import warm_ups
from zoo.errors import PackageError
from zoo.repository import MODEL_FILE

CONFIG_FILE = "config.pbtxt"
_BACKENDS = {"platform": "onnxruntime_onnx", "backend": "onnxruntime"}
_MAX_INSTANCES = 64
_GPU_MEMORY, THREADS = "gpu_mem_limit", "intra_op_thread_count"
"""The parameters that are honoured, by the names that Triton's ONNX Runtime backend has for them."""
_MAX_THREADS = 256
_NUMBER = re.compile(r"[0-9]{1,18}")
"""More digits are no number that means anything, and of thousands Python makes none."""


def read_config(folder: Path, override: str = "") -> tuple[ModelConfig, str] | None:
    """Read the configuration of a model and refuse what cannot be honoured.

    Args:
        folder: of the model, that of its versions.
        override: a configuration in JSON, which takes the place of the file; empty: there is none.

    Returns:
        The configuration, with the version policy and the file name that are in effect, and what to call it in errors;
        None where there is none.

    Raises:
        PackageError: it cannot be read, or a field is wrong or not supported.
    """
    config = ModelConfig()
    try:
        if override:
            json_format.Parse(override, config)
            source = "the configuration of the load request"
        elif os.path.lexists(folder / CONFIG_FILE):  # a link to nowhere is an error, not the absence of a configuration
            text_format.Parse(read_file(folder, CONFIG_FILE, CONFIG_FILE).decode(), config)
            source = CONFIG_FILE
        else:
            return None
    except (json_format.ParseError, text_format.ParseError, UnicodeDecodeError) as exc:
        raise PackageError(f"{'the configuration' if override else CONFIG_FILE} cannot be read: {exc}") from exc
    _check_identity(config, folder, source)
    if override:
        _take_files(config, _files(folder), source)
    else:
        _complete_files(config)
    return config, source


def _files(folder: Path) -> ModelConfig:
    """What the repository says of the files of a model; without a configuration all versions are served."""
    found = read_config(folder)
    every = ModelVersionPolicy(all=ModelVersionPolicy.All())
    return found[0] if found else ModelConfig(version_policy=every, default_model_filename=MODEL_FILE)


def _complete_files(config: ModelConfig) -> None:
    """Write down what is in effect where a configuration does not say which files are served."""
    policy = config.version_policy
    if policy.WhichOneof("policy_choice") in (None, "latest"):
        policy.latest.num_versions = max(policy.latest.num_versions, 1)
    config.default_model_filename = config.default_model_filename or MODEL_FILE


def _take_files(config: ModelConfig, own: ModelConfig, source: str) -> None:
    """A load request comes when the files are chosen already: it may repeat how, or leave it out."""
    for field in ("version_policy", "default_model_filename"):
        value, wanted = getattr(config, field), getattr(own, field)
        if value not in (type(value)(), wanted):
            text = f"{source}: {field} cannot be another one than the repository's"
            raise PackageError(f"{text}; change it in the model's {CONFIG_FILE}")
    config.version_policy.CopyFrom(own.version_policy)
    config.default_model_filename = own.default_model_filename


def read_model_settings(folder: Path, override: str = "") -> ModelSettings:
    """What is set for the model of a folder; the defaults where nothing is. See `read_config`."""
    found = read_config(folder, override)
    if found is None:
        return DEFAULTS
    config, source = found
    try:
        return _settings(config, folder, check_fields(config, source))
    except PackageError as exc:
        text = str(exc)
        raise PackageError(text if text.startswith(source) else f"{source}: {text}") from exc


def _check_identity(config: ModelConfig, folder: Path, source: str) -> None:
    for field, ours in _BACKENDS.items():
        value = getattr(config, field)
        if value not in ("", ours):
            raise PackageError(f"{source}: {field} {value!r} is not supported; this server runs {ours!r}")
    if config.name not in ("", folder.name):
        raise PackageError(f"{source}: name is {config.name!r}, but the folder is {folder.name!r}; rename one of them")
    if config.default_model_filename:
        check_file_name(config.default_model_filename, f"{source}: default_model_filename")


def _settings(config: ModelConfig, folder: Path, notes: tuple[str, ...]) -> ModelSettings:
    if config.max_batch_size < 0:
        raise PackageError(f"max_batch_size is {config.max_batch_size}; use 0 for none, or a positive number")
    queue, priorities, delay = _dynamic_batching(config)
    return ModelSettings(
        # 0 is not to be told from unset: it says something only together with the shapes of inputs.
        max_batch_rows=config.max_batch_size if config.max_batch_size or config.input else None,
        inputs=tuple(_input(tensor, index) for index, tensor in enumerate(config.input)),
        outputs=tuple(_output(tensor, index) for index, tensor in enumerate(config.output)),
        labels={
            tensor.name: read_lines(folder, tensor.label_filename, f"output[{index}].label_filename")
            for index, tensor in enumerate(config.output)
            if tensor.label_filename
        },
        max_delay_seconds=delay,
        queue=queue,
        priorities=priorities,
        sequence=sequence_settings(config, folder),
        instances=_instances(config),
        threads=_threads(config),
        placement=_placement(config),
        gpus=tuple(sorted({number for group in config.instance_group for number in group.gpus})),
        gpu_memory_bytes=_gpu_memory_bytes(config),
        cuda_graphs=config.optimization.cuda.graphs,
        warm_ups=warm_ups(config, folder),
        notes=(*notes, *_notes_on_parameters(config)),
        source=config.SerializeToString(),
    )


def _input(tensor: ModelInput, index: int) -> Claim:
    claim = _claim(tensor, f"input[{index}]")
    image = ModelInput.Format.Name(tensor.format).removeprefix("FORMAT_").replace("NONE", "")
    if image and len(tensor.dims) != 3:
        text = f"input[{index}].format is {image}, which needs 3 dims without the batch; there are {len(tensor.dims)}"
        raise PackageError(text)
    return Claim(claim.name, claim.datatype, claim.dims, claim.graph_dims, image)


def _output(tensor: ModelOutput, index: int) -> Claim:
    return _claim(tensor, f"output[{index}]")


def _claim(tensor: ModelInput | ModelOutput, field: str) -> Claim:
    if not tensor.name:
        raise PackageError(f"{field}.name is missing")
    if any(axis < -1 or axis == 0 for axis in tensor.dims):
        raise PackageError(f"{field}.dims is {list(tensor.dims)}; a size is positive, or -1 for any")
    graph_dims = tuple(tensor.reshape.shape) if tensor.HasField("reshape") else None
    if graph_dims is not None and sum(axis < 0 for axis in graph_dims) > 1:
        raise PackageError(f"{field}.reshape.shape is {list(graph_dims)}; one size at most may be -1")
    datatype = datatype_name(tensor.data_type, f"{field}.data_type") if tensor.data_type else ""
    return Claim(tensor.name, datatype, tuple(tensor.dims), graph_dims)


def _instances(config: ModelConfig) -> int | None:
    for index, group in enumerate(config.instance_group):
        if not 0 <= group.count <= _MAX_INSTANCES:
            raise PackageError(f"instance_group[{index}].count is {group.count}; use 1 to {_MAX_INSTANCES}")
    return sum(max(group.count, 1) * max(len(group.gpus), 1) for group in config.instance_group) or None


def _gpu_memory_bytes(config: ModelConfig) -> int | None:
    if _GPU_MEMORY not in config.parameters:
        return None
    text = config.parameters[_GPU_MEMORY].string_value
    if not (_NUMBER.fullmatch(text) and int(text)):
        raise PackageError(f"parameters[{_GPU_MEMORY}] is {text!r}; use a number of bytes")
    return int(text)


def _threads(config: ModelConfig) -> int | None:
    if THREADS not in config.parameters:
        return None
    text = config.parameters[THREADS].string_value
    if not _NUMBER.fullmatch(text) or int(text) > _MAX_THREADS:
        raise PackageError(f"parameters[{THREADS}] is {text!r}; use 1 to {_MAX_THREADS}, or 0 for the server's choice")
    return int(text) or None


def _notes_on_parameters(config: ModelConfig) -> tuple[str, ...]:
    others = sorted(set(config.parameters) - {_GPU_MEMORY, THREADS})
    return tuple(f"parameters[{key}] is passed over: this server does not know it" for key in others)


def _placement(config: ModelConfig) -> Placement:
    kinds = {group.kind for group in config.instance_group}
    if len(kinds) > 1:
        names = ", ".join(sorted(ModelInstanceGroup.Kind.Name(kind) for kind in kinds))
        raise PackageError(f"instance_group has groups of {names}; all instances of a model run in one place here")
    kind = kinds.pop() if kinds else ModelInstanceGroup.KIND_AUTO
    if kind == ModelInstanceGroup.KIND_CPU:
        return Placement.CPU
    return Placement.GPU if kind == ModelInstanceGroup.KIND_GPU else Placement.ANY


def _dynamic_batching(config: ModelConfig) -> tuple[QueuePolicy | None, Priorities | None, float | None]:
    if config.HasField("sequence_batching"):
        return None, None, sequence_delay_seconds(config.sequence_batching)
    if not config.HasField("dynamic_batching"):
        return None, None, None
    batching = config.dynamic_batching
    queue = _policy(batching.default_queue_policy) if batching.HasField("default_queue_policy") else None
    return queue, _priorities(batching), batching.max_queue_delay_microseconds / 1e6


def _priorities(batching: ModelDynamicBatching) -> Priorities | None:
    levels, default = batching.priority_levels, batching.default_priority_level
    if not levels:
        for field in ("default_priority_level", "priority_queue_policy"):
            if getattr(batching, field):
                raise PackageError(f"dynamic_batching.{field} is set, but priority_levels is not")
        return None
    if not 1 <= default <= levels:
        raise PackageError(f"dynamic_batching.default_priority_level is {default}; use 1 to {levels}")
    for level in batching.priority_queue_policy:
        if not 1 <= level <= levels:
            raise PackageError(f"dynamic_batching.priority_queue_policy has level {level}; use 1 to {levels}")
    policies = {level: _policy(policy) for level, policy in batching.priority_queue_policy.items()}
    return Priorities(levels, default, policies)


def _policy(policy: ModelQueuePolicy) -> QueuePolicy:
    timeout = policy.default_timeout_microseconds
    return QueuePolicy(timeout / 1e6 if timeout else None, policy.allow_timeout_override, policy.max_queue_size or None)
