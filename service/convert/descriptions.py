"""What a server has, in the messages of menagerie.v1 and of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Iterable

from inference import grpc_service_pb2
from menagerie.v1 import model_pb2
from service.backend.contract import TensorSpec
from service.convert.predictions import timestamp
from service.models.entry import Entry, State
from service.models.served_model import ServedModel
from zoo.card import Card, ImageTask, SeriesTask, Task, TextTask
from zoo.card import Provenance as CardProvenance
from zoo.card import Quantity as CardQuantity

PLATFORM = "onnxruntime_onnx"

_TASKS: dict[type[Task], model_pb2.Task] = {
    ImageTask: model_pb2.TASK_IMAGE_CLASSIFICATION,
    TextTask: model_pb2.TASK_TEXT_CLASSIFICATION,
    SeriesTask: model_pb2.TASK_FORECAST,
}
_STATES = {
    State.LOADING: model_pb2.MODEL_STATE_LOADING,
    State.READY: model_pb2.MODEL_STATE_READY,
    State.FAILED: model_pb2.MODEL_STATE_FAILED,
    State.UNLOADING: model_pb2.MODEL_STATE_UNLOADING,
    State.UNLOADED: model_pb2.MODEL_STATE_UNLOADED,
}


def summary(entry: Entry) -> model_pb2.ModelSummary:
    """One line of a list."""
    card = entry.model.card if entry.model else None
    return model_pb2.ModelSummary(
        model=model_pb2.ModelRef(name=entry.name, version=entry.version),
        task=_TASKS[type(card.task)] if card else model_pb2.TASK_UNSPECIFIED,
        state=_STATES[entry.state],
        reason=entry.reason,
        description=card.description if card else "",
    )


def description(entry: Entry) -> model_pb2.ModelDescription:
    """Everything; of a version that is not ready, the summary only."""
    message = model_pb2.ModelDescription(summary=summary(entry))
    if entry.model:
        device = entry.model.device
        message.device, message.execution_provider, message.device_note = device.name, device.provider, device.note
        message.inputs.extend(map(_tensor, entry.model.signature.inputs))
        message.outputs.extend(map(_tensor, entry.model.signature.outputs))
        if entry.model.card:
            _describe_card(message, entry.model.card)
    return message


def tensor_metadata(model: ServedModel, ready: Iterable[Entry]) -> grpc_service_pb2.ModelMetadataResponse:
    """ModelMetadata of the tensor API."""
    tensor = grpc_service_pb2.ModelMetadataResponse.TensorMetadata
    return grpc_service_pb2.ModelMetadataResponse(
        name=model.name,
        versions=[str(entry.version) for entry in ready],
        platform=PLATFORM,
        inputs=[tensor(name=i.name, datatype=i.datatype, shape=i.shape) for i in model.signature.inputs],
        outputs=[tensor(name=o.name, datatype=o.datatype, shape=o.shape) for o in model.signature.outputs],
    )


def _describe_card(message: model_pb2.ModelDescription, card: Card) -> None:
    message.test_metrics.update(card.test_metrics)
    message.licence = card.licence
    message.provenance.CopyFrom(_provenance(card.provenance))
    match card.task:
        case ImageTask(labels=labels, resize=resize):
            message.image.CopyFrom(
                model_pb2.ImageDetails(
                    labels=labels, height_px=resize.height_px, width_px=resize.width_px, preprocessing=str(resize)
                )
            )
        case TextTask(labels=labels, max_tokens=max_tokens, language=language):
            message.text.CopyFrom(model_pb2.TextDetails(labels=labels, max_tokens=max_tokens, language=language))
        case SeriesTask() as task:
            message.forecast.CopyFrom(
                model_pb2.ForecastDetails(
                    features=map(_quantity, task.features),
                    targets=map(_quantity, task.targets),
                    window_steps=task.window_steps,
                    horizon_steps=task.horizon_steps,
                    step_seconds=task.step_seconds,
                    stateful=bool(card.state),
                    interval_coverage=task.interval.coverage if task.interval else 0,
                )
            )


def _provenance(origin: CardProvenance) -> model_pb2.Provenance:
    return model_pb2.Provenance(
        created=timestamp(origin.created),
        recipe=origin.recipe,
        data=origin.data,
        data_sha256=origin.data_sha256,
        weights_source=origin.weights_source,
        seed=origin.seed,
        versions=origin.versions,
    )


def _quantity(quantity: CardQuantity) -> model_pb2.Quantity:
    return model_pb2.Quantity(name=quantity.name, unit=quantity.unit)


def _tensor(spec: TensorSpec) -> model_pb2.TensorDescription:
    return model_pb2.TensorDescription(name=spec.name, datatype=spec.datatype, shape=spec.shape)
