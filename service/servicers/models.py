"""menagerie.v1.ModelService."""

from __future__ import annotations

from typing import Any

from menagerie.v1 import model_service_pb2_grpc
from menagerie.v1.model_service_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from service.convert import descriptions, predictions
from service.models.model_table import ModelTable


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """What the server has."""

    def __init__(self, table: ModelTable) -> None:
        self._table = table

    async def ListModels(self, request: ListModelsRequest, context: Any) -> ListModelsResponse:  # noqa: N802, ARG002
        """List every version, those that failed included."""
        summaries = map(descriptions.summary, self._table.entries())
        return ListModelsResponse(models=[item for item in summaries if request.task in (0, item.task)])

    async def GetModel(self, request: GetModelRequest, context: Any) -> GetModelResponse:  # noqa: N802, ARG002
        """Describe one version."""
        predictions.check_model(request.model)
        entry = self._table.find(request.model.name, request.model.version)
        return GetModelResponse(model=descriptions.description(entry))
