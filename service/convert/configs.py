"""How a model is run, as the ModelConfig that clients of the tensor API ask for."""

from __future__ import annotations

import json

from inference import model_config_pb2 as pb
from service.backend.contract import TensorSpec
from service.convert.descriptions import PLATFORM
from service.models.served_model import ServedModel
from zoo.card import IMAGE_INPUT, ImageTask, SeriesTask, TextTask
from zoo.repository import MODEL_FILE

BACKEND = "onnxruntime"


def model_config(model: ServedModel) -> pb.ModelConfig:
    """What is in effect for a model: what its configuration says, completed with what the server found out itself."""
    found = _found_out(model)
    config = pb.ModelConfig.FromString(model.settings.source)
    scheduled = config.WhichOneof("scheduling_choice")
    config.ClearField("instance_group")  # where it runs was found out
    for field, _ in config.ListFields():
        found.ClearField(field.name)
    if scheduled and scheduled != "dynamic_batching":
        found.ClearField("dynamic_batching")
    config.MergeFrom(found)
    for key, value in (_card_parameters(model) | _device_parameters(model)).items():
        config.parameters[key].string_value = value
    config.name, config.max_batch_size = model.name, model.max_batch_rows
    return config


def _card_parameters(model: ServedModel) -> dict[str, str]:
    """What a client has to know to prepare inputs and to read outputs, for those that cannot ask the typed API."""
    task = model.card.task if model.card else None
    match task:
        case ImageTask(resize=resize):
            about = {"preprocessing": f"RGB, {resize}"}
        case TextTask(max_tokens=max_tokens):
            about = {"preprocessing": f"Unicode NFC; tokens beyond {max_tokens} are cut off"}
        case SeriesTask():
            columns = [f"{feature.name} [{feature.unit}]" for feature in task.features]
            about = {"preprocessing": f"columns in physical units, {task.step_seconds} s apart: {', '.join(columns)}"}
        case None:
            about = {}
    return about | ({"labels": json.dumps(model.labels, ensure_ascii=False)} if model.labels else {})


def _device_parameters(model: ServedModel) -> dict[str, str]:
    """Why the model does not run on something better; `instance_group` says where it does."""
    return {"device_note": model.device.note} if model.device.note else {}


def _found_out(model: ServedModel) -> pb.ModelConfig:
    batched = model.signature.max_batch != 0
    config = pb.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=BACKEND,
        version_policy=pb.ModelVersionPolicy(all=pb.ModelVersionPolicy.All()),
        max_batch_size=model.max_batch_rows,
        input=[_input(model, spec, batched=batched) for spec in model.signature.inputs],
        output=[
            pb.ModelOutput(name=spec.name, data_type=_data_type(spec), dims=_dims(spec, batched=batched))
            for spec in model.signature.outputs
        ],
        instance_group=[_instances(model)],
        default_model_filename=MODEL_FILE,
    )
    if batched:
        config.dynamic_batching.CopyFrom(_batching(model))
    return config


def _input(model: ServedModel, spec: TensorSpec, *, batched: bool) -> pb.ModelInput:
    is_image = model.card is not None and isinstance(model.card.task, ImageTask) and spec.name == IMAGE_INPUT
    return pb.ModelInput(
        name=spec.name,
        data_type=_data_type(spec),
        format=pb.ModelInput.FORMAT_NHWC if is_image else pb.ModelInput.FORMAT_NONE,
        dims=_dims(spec, batched=batched),
    )


def _batching(model: ServedModel) -> pb.ModelDynamicBatching:
    return pb.ModelDynamicBatching(
        max_queue_delay_microseconds=round(model.max_delay_seconds * 1e6),
        priority_levels=model.priorities.levels,
        default_priority_level=model.priorities.default,
        default_queue_policy=pb.ModelQueuePolicy(
            timeout_action=pb.ModelQueuePolicy.REJECT, allow_timeout_override=True
        ),
    )


def _instances(model: ServedModel) -> pb.ModelInstanceGroup:
    group = pb.ModelInstanceGroup(name=model.name, kind=pb.ModelInstanceGroup.KIND_CPU, count=model.settings.instances)
    if model.device.kind != "cpu":
        group.kind = pb.ModelInstanceGroup.KIND_GPU
        group.gpus.append(model.device.ordinal)
    return group


def _data_type(spec: TensorSpec) -> str:
    return "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"


def _dims(spec: TensorSpec, *, batched: bool) -> tuple[int, ...]:
    return spec.shape[1:] if batched else spec.shape
