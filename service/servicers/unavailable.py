"""inference.GRPCInferenceService: what a caller must not have from a server that others share.

Shared memory of CUDA would let callers name memory of the GPU, log and trace settings would let them name files of the
machine. So the state is told as it is (nothing is shared, nothing is traced), and every change is refused.
"""

# ruff: noqa: ARG002, N802 -- the names and arguments of RPCs are given

from __future__ import annotations

import logging
from typing import Any

from inference import grpc_service_pb2 as pb
from service.errors import RegionNotFoundError, UnsupportedError
from service.servicers.tensor_table import TableServicer

_NO_SHARED_MEMORY = (
    "CUDA shared memory is not supported: this server never opens memory of a GPU that a caller names; send the values "
    "in the request"
)
_NO_TRACE = (
    "trace settings cannot be changed over the wire; the server's operator turns on OpenTelemetry spans with "
    "--otlp-endpoint"
)
_NO_LOG = "log settings cannot be changed over the wire; the server's operator sets --log-level and --log-format"


class UnavailableRpcs(TableServicer):
    """CudaSharedMemory..., TraceSetting, LogSettings."""

    async def CudaSharedMemoryStatus(
        self, request: pb.CudaSharedMemoryStatusRequest, context: Any
    ) -> pb.CudaSharedMemoryStatusResponse:
        """No regions."""
        if request.name:
            raise RegionNotFoundError("CUDA", request.name)
        return pb.CudaSharedMemoryStatusResponse()

    async def CudaSharedMemoryRegister(
        self, request: pb.CudaSharedMemoryRegisterRequest, context: Any
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Refused."""
        raise UnsupportedError(_NO_SHARED_MEMORY)

    async def CudaSharedMemoryUnregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: Any
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """There is nothing to forget."""
        return pb.CudaSharedMemoryUnregisterResponse()

    async def TraceSetting(self, request: pb.TraceSettingRequest, context: Any) -> pb.TraceSettingResponse:
        """Tracing into files is off, for every model."""
        if request.settings:
            raise UnsupportedError(_NO_TRACE)
        if request.model_name:
            self._find_all(request.model_name, "")
        value = pb.TraceSettingResponse.SettingValue
        return pb.TraceSettingResponse(settings={"trace_level": value(value=["OFF"])})

    async def LogSettings(self, request: pb.LogSettingsRequest, context: Any) -> pb.LogSettingsResponse:
        """What is logged; always on standard error, so log_file is empty."""
        if request.settings:
            raise UnsupportedError(_NO_LOG)
        level = logging.getLevelNamesMapping()[self._settings.log_level.upper()]
        value = pb.LogSettingsResponse.SettingValue
        return pb.LogSettingsResponse(
            settings={
                "log_file": value(string_param=""),
                "log_info": value(bool_param=level <= logging.INFO),
                "log_warning": value(bool_param=level <= logging.WARNING),
                "log_error": value(bool_param=level <= logging.ERROR),
                "log_verbose_level": value(uint32_param=int(level <= logging.DEBUG)),
                "log_format": value(string_param=self._settings.log_format),
            }
        )
