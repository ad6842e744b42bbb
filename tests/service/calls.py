"""Calls to a server over a real channel."""

from __future__ import annotations

import asyncio
import io
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from menagerie.v1 import model_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc
from menagerie.v1 import prediction_service_pb2 as prediction
from service.server import Server


class Calls:
    """A channel with all stubs, and short forms of the calls that tests make most."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.channel = grpc.aio.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)])
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.inference = grpc_service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.channel.close()

    async def classify_images(self, *images: bytes, model: str = "shades", **options: Any) -> Any:
        """PredictionService.ClassifyImages."""
        request = prediction.ClassifyImagesRequest(model=model_pb2.ModelRef(name=model), images=images, **options)
        return await self.predictions.ClassifyImages(request)

    async def classify_texts(self, *texts: str, model: str = "moods", version: int = 0, **options: Any) -> Any:
        """PredictionService.ClassifyTexts."""
        reference = model_pb2.ModelRef(name=model, version=version)
        request = prediction.ClassifyTextsRequest(model=reference, texts=texts, **options)
        return await self.predictions.ClassifyTexts(request)

    async def forecast(self, *histories: prediction.History, model: str = "load") -> Any:
        """PredictionService.Forecast."""
        request = prediction.ForecastRequest(model=model_pb2.ModelRef(name=model), histories=histories)
        return await self.predictions.Forecast(request)

    async def infer(
        self, model: str, tensors: Mapping[str, np.ndarray | np.generic], **call: Any
    ) -> dict[str, np.ndarray]:
        """ModelInfer with raw tensors, numbers only."""
        response = await self.inference.ModelInfer(infer_request(model, tensors), **call)
        return numbers(response)

    async def status(self, service: str = "") -> str:
        """Health of a service, as the word."""
        response = await self.health.Check(health_pb2.HealthCheckRequest(service=service))
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        return name

    async def scrape(self) -> str:
        """What Prometheus gets."""
        return await asyncio.to_thread(_scrape, self.server.metrics_url)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name that have these labels, scraped over HTTP."""
        text = await self.scrape()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@dataclass
class Failure:
    """What a failed call says."""

    code: grpc.StatusCode
    message: str
    info: error_details_pb2.ErrorInfo
    violations: dict[str, Any]
    """By field."""
    retry_seconds: float | None
    request_id: str


async def failure(call: Any) -> Failure:
    """Await a call that must fail, with a google.rpc.Status that agrees with its code."""
    try:
        response = await call
    except grpc.aio.AioRpcError as exc:
        return read_failure(exc)
    raise AssertionError(f"the call did not fail: {response}")


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # it may be anything
            await asyncio.sleep(0.005)


def infer_request(
    model: str, tensors: Mapping[str, np.ndarray | np.generic], outputs: Sequence[str] = ()
) -> pb.ModelInferRequest:
    """A request with raw numbers."""
    request = pb.ModelInferRequest(model_name=model, id="42")
    for name, value in tensors.items():
        request.inputs.add(name=name, datatype=_NAMES[value.dtype.name], shape=value.shape)
        request.raw_input_contents.append(value.tobytes())
    for name in outputs:
        request.outputs.add(name=name)
    return request


def numbers(response: pb.ModelInferResponse) -> dict[str, np.ndarray]:
    """The numeric outputs of a response."""
    types = {datatype: dtype for dtype, datatype in _NAMES.items()}
    return {
        output.name: np.frombuffer(raw, types[output.datatype]).reshape(output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def picture(brightness: int, size: tuple[int, int] = (16, 12)) -> bytes:
    """A PNG file of one grey."""
    file = io.BytesIO()
    Image.new("RGB", size, (brightness,) * 3).save(file, "PNG")
    return file.getvalue()


def history(load: Sequence[float], temperature: Sequence[float] | None = None) -> prediction.History:
    """A table with the columns of the forecast card."""
    columns = {"load": load, "temperature": [20.0] * len(load) if temperature is None else temperature}
    return prediction.History(columns=[prediction.Column(name=name, values=v) for name, v in columns.items()])


_NAMES = {
    "bool": "BOOL",
    **{f"{kind}{bits}": f"{kind.upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}


def _scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
    return text


def read_failure(error: grpc.aio.AioRpcError) -> Failure:
    """What a failure of the server says, with a google.rpc.Status that agrees with its code."""
    metadata = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(retry)
    assert info.domain == "menagerie"
    assert info.metadata["request_id"] == metadata["x-request-id"]
    return Failure(
        code=error.code(),
        message=status.message,
        info=info,
        violations={violation.field: violation for violation in bad.field_violations},
        retry_seconds=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
        request_id=metadata["x-request-id"],
    )
