"""A model on a running server: tensors through the Open Inference Protocol, which other ONNX servers speak, too, and
images as files through the typed API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from inference import grpc_service_pb2 as pb
from inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from menagerie.v1 import model_pb2
from menagerie.v1.prediction_service_pb2 import ClassifyImagesRequest
from menagerie.v1.prediction_service_pb2_grpc import PredictionServiceStub
from training.errors import RemoteError, SettingsError
from zoo import byte_strings
from zoo.golden import Tensors

_DATATYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DATATYPES.items()}
_ALL = 2**31 - 1
"""Classes."""
_REQUEST_BYTES = 16 * 2**20


class RemoteModel:
    """A model that a server computes; calls raise RemoteError with the server's own words.

    Args:
        channel: to the server.
        address: of the server, for errors.
        name: of the model there.
        version: of the model; 0: the newest.
        token: sent with every call; empty: none.
        seconds: every call is given up after this.
    """

    def __init__(
        self, channel: grpc.Channel, address: str, name: str, version: int, token: str = "", seconds: float = 60.0
    ) -> None:
        self._tensors = GRPCInferenceServiceStub(channel)
        self._predictions = PredictionServiceStub(channel)
        self._name, self._version = name, version
        self._who = f"the server {address} gives no answer for {name} version {version or 'newest'}"
        self._options = {"timeout": seconds, "metadata": [("authorization", f"Bearer {token}")] if token else []}

    def run(self, inputs: Tensors) -> Tensors:
        """Named tensors in and out, by the Open Inference Protocol."""
        version = str(self._version) if self._version else ""
        request = pb.ModelInferRequest(model_name=self._name, model_version=version)
        for name, value in inputs.items():
            datatype, content = _encode(value)
            request.inputs.add(name=name, datatype=datatype, shape=value.shape)
            request.raw_input_contents.append(content)
        response = self._call(self._tensors.ModelInfer, request)
        return {
            output.name: _decode(content, output.datatype, output.shape)
            for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
        }

    def classify(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """Probabilities [N, K] of encoded image files, as users send them."""
        model = model_pb2.ModelRef(name=self._name, version=self._version)
        rows: list[list[float]] = []
        for some in _in_requests(images):
            request = ClassifyImagesRequest(model=model, images=some, top_k=_ALL)
            for result in self._call(self._predictions.ClassifyImages, request).results:
                by_index = {score.index: score.probability for score in result.classes}
                rows.append([by_index[index] for index in range(len(by_index))])
        return np.array(rows, np.float32)

    def _call(self, method: Callable[..., Any], request: object) -> Any:
        try:
            return method(request, **self._options)
        except grpc.RpcError as exc:
            raise RemoteError(f"{self._who}: {exc.code().name}, {exc.details()}") from exc


@contextmanager
def remote_model(
    address: str, name: str, version: int, *, token: str = "", authorities: Path | None = None
) -> Iterator[RemoteModel]:
    """Within, a model on a server; see `RemoteModel`.

    Args:
        address: HOST:PORT.
        name: of the model.
        version: of the model; 0: the newest.
        token: sent with every call; empty: none.
        authorities: PEM file of whom to trust for TLS; None: plain text.

    Raises:
        SettingsError: the file cannot be read.
    """
    with _channel(address, authorities) as channel:
        yield RemoteModel(channel, address, name, version, token)


def _in_requests(images: Sequence[bytes]) -> Iterator[list[bytes]]:
    """As many as a request may hold."""
    some: list[bytes] = []
    for image in images:
        if some and sum(map(len, some)) + len(image) > _REQUEST_BYTES:
            yield some
            some = []
        some.append(image)
    if some:
        yield some


def _channel(address: str, authorities: Path | None) -> grpc.Channel:
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]
    if authorities is None:
        return grpc.insecure_channel(address, options)
    try:
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(authorities.read_bytes()), options)
    except OSError as exc:
        raise SettingsError(f"{authorities} cannot be read: {exc.strerror}") from exc


def _encode(value: NDArray[np.generic]) -> tuple[str, bytes]:
    if value.dtype == object:
        return "BYTES", byte_strings.encode(value)
    return _NAMES[value.dtype.newbyteorder("<")], np.ascontiguousarray(value).tobytes()


def _decode(content: bytes, datatype: str, shape: Sequence[int]) -> NDArray[np.generic]:
    if datatype not in _DATATYPES:
        raise RemoteError(f"the server answers with a tensor of {datatype}; known are {', '.join(_DATATYPES)}")
    return np.frombuffer(content, _DATATYPES[datatype]).reshape(shape)
