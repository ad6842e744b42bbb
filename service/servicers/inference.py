"""inference.GRPCInferenceService: the Open Inference Protocol and its extensions, for every model."""

from __future__ import annotations

from typing import Any

from inference import grpc_service_pb2 as pb
from service.convert import configs, descriptions, statistics
from service.errors import ModelNotFoundError, VersionNotFoundError
from service.servicers.repository import RepositoryRpcs
from service.servicers.shared_memory import SharedMemoryRpcs
from service.servicers.tensors import TensorRpcs
from service.servicers.unavailable import UnavailableRpcs

EXTENSIONS = (
    *("binary_tensor_data", "classification", "model_configuration"),
    *("parameters", "schedule_policy", "sequence", "statistics"),
)
REPOSITORY_EXTENSION = "model_repository"
"""Where callers may load and unload."""

MEMORY_EXTENSION = "system_shared_memory"
"""Where they may register it."""


class InferenceServicer(TensorRpcs, RepositoryRpcs, SharedMemoryRpcs, UnavailableRpcs):
    """What server and models are; the other RPCs are in the parts that it inherits."""

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:  # noqa: N802, ARG002
        """The process is up, or it would not answer."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:  # noqa: N802, ARG002
        """Whether a probe inference just worked."""
        return pb.ServerReadyResponse(ready=await self._readiness.serving())

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:  # noqa: N802, ARG002
        """Whether one model answers; an unknown one does not, which is no error."""
        try:
            entry = self._entry(request.name, request.version)
        except (ModelNotFoundError, VersionNotFoundError):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=await self._readiness.answers(entry))

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Any) -> pb.ServerMetadataResponse:  # noqa: N802, ARG002
        """Name and version."""
        settings = self._settings
        extensions = [*EXTENSIONS]
        if settings.admin and settings.control_mode == "explicit":
            extensions.append(REPOSITORY_EXTENSION)
        if settings.system_shared_memory:
            extensions.append(MEMORY_EXTENSION)
        return pb.ServerMetadataResponse(name=settings.server_name, version=self._version, extensions=extensions)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:  # noqa: N802, ARG002
        """Inputs and outputs of a model."""
        model = self._find(request.name, request.version)
        ready = [entry for entry in self._table.versions(model.name) if entry.model]
        return descriptions.tensor_metadata(model, ready)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Any) -> pb.ModelConfigResponse:  # noqa: N802, ARG002
        """How a model is run."""
        return pb.ModelConfigResponse(config=configs.model_config(self._find(request.name, request.version)))

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Any) -> pb.ModelStatisticsResponse:  # noqa: N802, ARG002
        """What the models that are loaded have done."""
        models = [entry.model for entry in self._find_all(request.name, request.version) if entry.model]
        return pb.ModelStatisticsResponse(model_stats=map(statistics.model_statistics, models))
