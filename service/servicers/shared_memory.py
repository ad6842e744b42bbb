"""inference.GRPCInferenceService: system shared memory, which requests may then have their tensors in."""

# ruff: noqa: ARG002, N802 -- the names and arguments of RPCs are given

from __future__ import annotations

from typing import Any

from inference import grpc_service_pb2 as pb
from service.errors import UnsupportedError
from service.servicers.shared_tensors import SHARED_MEMORY_IS_OFF
from service.servicers.tensor_table import TableServicer


class SharedMemoryRpcs(TableServicer):
    """SystemSharedMemoryStatus, SystemSharedMemoryRegister, SystemSharedMemoryUnregister."""

    async def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: Any
    ) -> pb.SystemSharedMemoryStatusResponse:
        """What is registered."""
        status = pb.SystemSharedMemoryStatusResponse.RegionStatus
        regions = {
            region.name: status(name=region.name, key=region.key, offset=region.offset, byte_size=region.size)
            for region in self._memory.regions.listed(request.name)
        }
        return pb.SystemSharedMemoryStatusResponse(regions=regions)

    async def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: Any
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Open a region, if the operator lets callers."""
        if not self._settings.system_shared_memory:
            raise UnsupportedError(SHARED_MEMORY_IS_OFF)
        self._memory.regions.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: Any
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Forget a region; no error where there is none, as clients call it before they begin."""
        self._memory.regions.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()
