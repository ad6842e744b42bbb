"""The tensor API: what a ModelInferRequest asks of a model.

Existing clients match the texts of these errors, so they are worded as in the servers that those clients know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from inference.grpc_service_pb2 import ModelInferRequest
from service.backend.contract import Signature, Tensors
from service.convert.tensor_parameters import read_classification
from service.convert.tensor_reader import Limits, Reader
from service.errors import InvalidTensorError


def read_version(text: str) -> int | None:
    """The version in a request; None: the highest that is ready.

    Raises:
        InvalidTensorError: it is no integer.
    """
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        message = f"failed to get model version from specified version string '{text}'"
        raise InvalidTensorError("model_version", message, reason="INVALID_VERSION")
    return int(text)


class Form:
    """What a request says about its tensors, found to fit a model: any number of requests can be read by it."""

    def __init__(self, request: ModelInferRequest, signature: Signature, limits: Limits, max_rows: int) -> None:
        """Check everything but the values.

        Args:
            request: from the wire; its raw contents are not looked at.
            signature: what the model takes and gives.
            limits: how large the inputs may be.
            max_rows: how many rows they may have.

        Raises:
            InvalidTensorError: an input is missing, unknown, there twice, or does not fit; an output is unknown, or
                there twice; the text says which and how.
        """
        self._model = request.model_name
        self.wanted = _read_outputs(request, signature)
        """The outputs that the request wants, and how many classes of each, 0 for the tensor itself; none: all."""
        self._readers = _read_inputs(request, signature, limits)
        self._sent = {name: reader for name, reader in self._readers.items() if not reader.shared}
        """Those whose values are sent, and not in shared memory."""
        if signature.max_batch != 0:
            _check_batch(request, self._readers, max_rows)

    def read(self, raw: Sequence[bytes | memoryview]) -> Tensors:
        """The input tensors that are sent.

        Args:
            raw: the raw contents that came; empty: the values stand with the inputs.

        Raises:
            InvalidTensorError: the values are not what the request says that they are.
        """
        if not raw:
            return {name: reader.read_contents() for name, reader in self._sent.items()}
        if len(raw) != len(self._sent):
            text = f"model '{self._model}' got {len(raw)} raw_input_contents for {len(self._sent)} inputs"
            raise InvalidTensorError("raw_input_contents", f"{text}; send one for each")
        return {name: reader.read_raw(data) for (name, reader), data in zip(self._sent.items(), raw, strict=True)}

    def read_shared(self, values: Mapping[str, memoryview]) -> Tensors:
        """The input tensors that are in shared memory; as `read`, with the raw contents of each by its name."""
        return {name: self._readers[name].read_raw(data) for name, data in values.items()}


def _read_outputs(request: ModelInferRequest, signature: Signature) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for index, output in enumerate(request.outputs):
        field = f"outputs[{index}].name"
        if signature.output(output.name) is None:
            known = ", ".join(spec.name for spec in signature.outputs)
            text = f"unexpected inference output '{output.name}' for model '{request.model_name}'; it has {known}"
            raise InvalidTensorError(field, text)
        if output.name in wanted:
            text = f"output '{output.name}' already requested for model '{request.model_name}'"
            raise InvalidTensorError(field, text)
        wanted[output.name] = read_classification(output, index)
    return wanted


def _read_inputs(request: ModelInferRequest, signature: Signature, limits: Limits) -> dict[str, Reader]:
    _check_names(request, signature)
    readers, raw_index = {}, 0
    for index, tensor in enumerate(request.inputs):
        spec = signature.input(tensor.name)
        assert spec is not None, "the names are checked"
        reader = readers[tensor.name] = Reader(request.model_name, index, raw_index, tensor, spec, limits)
        reader.check(batched=signature.max_batch != 0)
        raw_index += not reader.shared
    return readers


def _check_names(request: ModelInferRequest, signature: Signature) -> None:
    got = [tensor.name for tensor in request.inputs]
    wanted = [spec.name for spec in signature.inputs]
    for index, name in enumerate(got):
        field = f"inputs[{index}].name"
        if name not in wanted:
            text = f"unexpected inference input '{name}' for model '{request.model_name}'"
            raise InvalidTensorError(field, f"{text}; it takes {', '.join(wanted)}")
        if name in got[:index]:
            raise InvalidTensorError(field, f"input '{name}' already exists in request for '{request.model_name}'")
    missing = [name for name in wanted if name not in got]
    if missing:
        text = f"expected {len(wanted)} inputs but got {len(got)} inputs for model '{request.model_name}'"
        raise InvalidTensorError("inputs", f"{text}. Missing required input(s) {missing}")


def _check_batch(request: ModelInferRequest, readers: dict[str, Reader], max_rows: int) -> None:
    rows = next(iter(readers.values())).rows
    for index, (name, reader) in enumerate(readers.items()):
        if reader.rows != rows:
            text = f"input '{name}' batch size does not match other inputs for '{request.model_name}'"
            raise InvalidTensorError(f"inputs[{index}].shape", f"{text}: {reader.rows}, not {rows}")
    if rows > max_rows:
        text = f"inference request batch-size must be <= {max_rows} for '{request.model_name}'"
        raise InvalidTensorError("inputs[0].shape", text, reason="BATCH_TOO_LARGE", metadata={"limit": max_rows})
