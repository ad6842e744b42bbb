"""inference.GRPCInferenceService: the models of the repositories, and loading and unloading them."""

# ruff: noqa: ARG002, N802 -- the names and arguments of RPCs are given

from __future__ import annotations

from typing import Any

from inference import grpc_service_pb2 as pb
from service.convert import repositories
from service.errors import ModelNotFoundError
from service.servicers.tensor_table import TableServicer, reworded


class RepositoryRpcs(TableServicer):
    """RepositoryIndex, RepositoryModelLoad, RepositoryModelUnload."""

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Any) -> pb.RepositoryIndexResponse:
        """Every version that is known, and the models that were never loaded."""
        rows = [row for row in await self._table.index() if row.state == "READY" or not request.ready]
        return pb.RepositoryIndexResponse(models=map(repositories.index_row, rows))

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Any
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model, or bring it up to date; answers when it is ready."""
        await self._table.load(request.model_name, repositories.read_load_config(request))
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Any
    ) -> pb.RepositoryModelUnloadResponse:
        """Unload a model; answers when its last request is answered."""
        repositories.check_unload(request)
        try:
            await self._table.unload(request.model_name)
        except ModelNotFoundError as exc:
            raise reworded(exc) from None
        return pb.RepositoryModelUnloadResponse()
