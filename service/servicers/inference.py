"""inference.GRPCInferenceService: the core of the Open Inference Protocol, for every model."""

from __future__ import annotations

import asyncio
from typing import Any

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from service.convert import descriptions, tensor_parameters, tensor_requests, tensor_responses
from service.errors import ModelNotFoundError, VersionNotFoundError
from service.model_table import ModelTable
from service.readiness import Readiness
from service.served_model import ServedModel
from service.servicers.context import announce, deadline_of
from service.settings import Settings

EXTENSIONS = ("binary_tensor_data", "classification", "parameters")


class InferenceServicer(grpc_service_pb2_grpc.GRPCInferenceServiceServicer):
    """Tensors in, tensors out."""

    def __init__(self, table: ModelTable, readiness: Readiness, settings: Settings, *, version: str) -> None:
        self._table = table
        self._readiness = readiness
        self._max_rows = settings.max_items_per_request
        self._name = settings.server_name
        self._version = version

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:  # noqa: N802, ARG002
        """The process is up, or it would not answer."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:  # noqa: N802, ARG002
        """Whether a probe inference just worked."""
        return pb.ServerReadyResponse(ready=await self._readiness.serving())

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:  # noqa: N802, ARG002
        """Whether one model answers; an unknown one does not, which is no error."""
        try:
            entry = self._table.find(request.name, tensor_requests.read_version(request.version) or 0)
        except (ModelNotFoundError, VersionNotFoundError):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=await self._readiness.answers(entry))

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Any) -> pb.ServerMetadataResponse:  # noqa: N802, ARG002
        """Name and version."""
        return pb.ServerMetadataResponse(name=self._name, version=self._version, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:  # noqa: N802, ARG002
        """Inputs and outputs of a model."""
        model = self._find(request.name, request.version)
        ready = [entry for entry in self._table.versions(model.name) if entry.model]
        return descriptions.tensor_metadata(model, ready)

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:  # noqa: N802
        """Run a model on tensors."""
        model = self._find(request.model_name, request.model_version)
        with model.metrics.timed("decode"):
            tensor_parameters.check_parameters(request)
            wanted = tensor_requests.read_outputs(request, model.signature)
            inputs = tensor_requests.read_inputs(request, model.signature, max_rows=self._max_rows)
        outputs = await model.infer(inputs, tuple(wanted), _deadline(request, context))
        with model.metrics.timed("encode"):
            return tensor_responses.response(request, model, wanted, outputs)

    def _find(self, name: str, version_text: str) -> ServedModel:
        """The model, or the errors whose texts existing clients know."""
        version = tensor_requests.read_version(version_text)
        unknown = f"Request for unknown model: '{name}'"
        try:
            if version == 0:
                raise VersionNotFoundError(name, 0, [])
            return announce(self._table.get(name, version or 0))
        except ModelNotFoundError as exc:
            exc.reword(f"{unknown} is not found")
            raise
        except VersionNotFoundError as exc:
            exc.reword(f"{unknown} version {exc.version} is not found")
            raise


def _deadline(request: pb.ModelInferRequest, context: Any) -> float | None:
    """The earlier one of the RPC's deadline and the request's own timeout."""
    timeout = tensor_parameters.read_timeout_seconds(request)
    own = None if timeout is None else asyncio.get_running_loop().time() + timeout
    return min((time for time in (own, deadline_of(context)) if time is not None), default=None)
