"""All RPCs of the server: its own two services, the tensor API, health and reflection."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from inference import grpc_service_pb2, grpc_service_pb2_grpc
from menagerie.v1 import (
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)
from service.convert.tensor_message import TensorRequestParser
from service.health import HealthServicer
from service.models.model_table import ModelTable
from service.models.readiness import Readiness
from service.servicers.inference import InferenceServicer
from service.servicers.models import ModelServicer
from service.servicers.prediction import PredictionServicer
from service.servicers.shared_tensors import SharedTensors
from service.settings import Settings
from service.transport.handlers import HandlerTable

_PREDICTIONS = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
_MODELS = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
_TENSORS = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


def make_handlers(
    models: ModelTable, readiness: Readiness, memory: SharedTensors, settings: Settings
) -> dict[str, Any]:
    """The handler of every RPC, by its full name."""
    table = HandlerTable()
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionServicer(models, readiness, max_items=settings.max_items_per_request), table
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(models), table)
    _add_tensors(table, InferenceServicer(models, readiness, memory, settings, version=version("menagerie")))
    predicting = frozenset({_PREDICTIONS, _TENSORS})
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(readiness, predicting, frozenset({_MODELS})), table)
    names = (_PREDICTIONS, _MODELS, _TENSORS, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), table)
    return table.handlers


def _add_tensors(table: HandlerTable, servicer: InferenceServicer) -> None:
    grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, table)
    parser = TensorRequestParser()
    for method in ("ModelInfer", "ModelStreamInfer"):
        table.read_with(f"/{_TENSORS}/{method}", parser.parse)
