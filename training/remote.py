"""A model on a running server as a `Run`, through the Open Inference Protocol, which other ONNX servers speak, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from inference import grpc_service_pb2 as pb
from inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from training.errors import RemoteError, SettingsError
from zoo.golden import Run, Tensors

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
_LENGTH = np.dtype("<u4")  # before each element of BYTES


@contextmanager
def remote_run(
    address: str, model: str, version: int, *, token: str = "", authorities: Path | None = None, seconds: float = 60.0
) -> Iterator[Run]:
    """Within, the model as a graph that a server computes.

    Args:
        address: HOST:PORT.
        model: its name on the server.
        version: of the model.
        token: sent with every call; empty: none.
        authorities: PEM file of whom to trust for TLS; None: plain text.
        seconds: every call is given up after this.

    Raises:
        SettingsError: the file cannot be read.
        RemoteError: by the run; the text has the server's own words.
    """
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with _channel(address, authorities) as channel:
        stub = GRPCInferenceServiceStub(channel)

        def run(inputs: Tensors) -> Tensors:
            request = pb.ModelInferRequest(model_name=model, model_version=str(version))
            for name, value in inputs.items():
                datatype, content = _encode(value)
                request.inputs.add(name=name, datatype=datatype, shape=value.shape)
                request.raw_input_contents.append(content)
            try:
                response = stub.ModelInfer(request, timeout=seconds, metadata=metadata)
            except grpc.RpcError as exc:
                raise RemoteError(
                    f"the server {address} gives no answer for {model} version {version}: "
                    f"{exc.code().name}, {exc.details()}"
                ) from exc
            return {
                output.name: _decode(content, output.datatype, output.shape)
                for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
            }

        yield run


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
        texts = [str(text).encode() for text in value.ravel()]
        return "BYTES", b"".join(len(text).to_bytes(_LENGTH.itemsize, "little") + text for text in texts)
    return _NAMES[value.dtype.newbyteorder("<")], np.ascontiguousarray(value).tobytes()


def _decode(content: bytes, datatype: str, shape: Sequence[int]) -> NDArray[np.generic]:
    if datatype not in _DATATYPES:
        raise RemoteError(f"the server answers with a tensor of {datatype}; known are {', '.join(_DATATYPES)}")
    return np.frombuffer(content, _DATATYPES[datatype]).reshape(shape)
