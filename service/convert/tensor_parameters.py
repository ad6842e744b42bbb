"""Parameters of the tensor API's requests: what is understood, what is passed over, what is refused."""

from __future__ import annotations

from collections.abc import Mapping

from inference.grpc_service_pb2 import InferParameter, ModelInferRequest
from service.errors import InvalidTensorError

_KINDS: dict[str, tuple[str, ...]] = {
    "sequence_id": ("int64_param", "uint64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
    "priority": ("uint64_param", "int64_param"),
    "timeout": ("int64_param", "uint64_param"),
    "binary_data_output": ("bool_param",),
}
"""Parameters with a meaning; others are the caller's own, and passed over."""


def check_parameters(request: ModelInferRequest) -> None:
    """Refuse parameters that the server cannot honour.

    Raises:
        InvalidTensorError: a known parameter of another type, an unknown one of the protocol's own, shared memory.
    """
    for name, parameter in request.parameters.items():
        field = f"parameters[{name}]"
        kind = parameter.WhichOneof("parameter_choice")
        if name.startswith("triton_"):
            raise InvalidTensorError(field, f"parameter '{name}' is not supported")
        if name in _KINDS and kind not in _KINDS[name]:
            text = f"parameter '{name}' must be {' or '.join(_KINDS[name])}, got {kind}"
            raise InvalidTensorError(field, text)
    for index, tensor in enumerate(request.inputs):
        _refuse_shared_memory(f"inputs[{index}]", tensor.parameters)
    for index, output in enumerate(request.outputs):
        _refuse_shared_memory(f"outputs[{index}]", output.parameters)


def read_timeout_seconds(request: ModelInferRequest) -> float | None:
    """How long the request may take; None: it does not say. On the wire it is in microseconds.

    Raises:
        InvalidTensorError: it is negative.
    """
    if "timeout" not in request.parameters:
        return None
    microseconds = _integer(request.parameters["timeout"])
    if microseconds < 0:
        text = f"parameter 'timeout' is {microseconds} microseconds; send a positive number"
        raise InvalidTensorError("parameters[timeout]", text)
    return microseconds / 1e6 if microseconds else None


def read_classification(output: ModelInferRequest.InferRequestedOutputTensor, index: int) -> int:
    """How many classes of an output are wanted; 0: the tensor itself.

    Raises:
        InvalidTensorError: not an integer, or negative.
    """
    if "classification" not in output.parameters:
        return 0
    parameter = output.parameters["classification"]
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in ("int64_param", "uint64_param") or _integer(parameter) < 0:
        text = f"parameter 'classification' of output '{output.name}' must be a positive int64_param"
        raise InvalidTensorError(f"outputs[{index}].parameters[classification]", text)
    return _integer(parameter)


def _integer(parameter: InferParameter) -> int:
    kind = parameter.WhichOneof("parameter_choice")
    assert kind in ("int64_param", "uint64_param"), "the callers check this"
    value: int = getattr(parameter, kind)
    return value


def _refuse_shared_memory(field: str, parameters: Mapping[str, InferParameter]) -> None:
    if "shared_memory_region" in parameters:
        text = "shared memory is not supported; send the values in the request"
        raise InvalidTensorError(f"{field}.parameters[shared_memory_region]", text)
