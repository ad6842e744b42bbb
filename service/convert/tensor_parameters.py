"""Parameters of the tensor API's requests: what is understood, what is passed over, what is refused."""

from __future__ import annotations

from dataclasses import dataclass

from inference.grpc_service_pb2 import InferParameter, ModelInferRequest
from service.errors import InvalidTensorError
from service.models.sequences import Step

FINAL_RESPONSE = "triton_enable_empty_final_response"
_KINDS: dict[str, tuple[str, ...]] = {
    "sequence_id": ("int64_param", "uint64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
    "priority": ("uint64_param", "int64_param"),
    "timeout": ("int64_param", "uint64_param"),
    "binary_data_output": ("bool_param",),
    FINAL_RESPONSE: ("bool_param",),
}
"""Parameters with a meaning; others are the caller's own, and passed over."""


@dataclass(frozen=True)
class Parameters:
    """What the parameters of a request say."""

    timeout_seconds: float | None
    """How long it may take; None: it does not say."""
    priority: int
    """1 is the highest; 0: the model's default."""
    step: Step | None
    """Of a sequence; None: it is of none."""


def read_parameters(request: ModelInferRequest) -> Parameters:
    """Read the parameters, and refuse those that the server cannot honour.

    Raises:
        InvalidTensorError: a known parameter of another type or out of range, an unknown one of the protocol's own.
    """
    _check(request)
    return Parameters(_timeout_seconds(request), _not_negative(request, "priority"), _step(request))


def _check(request: ModelInferRequest) -> None:
    for name, parameter in request.parameters.items():
        field = f"parameters[{name}]"
        kind = parameter.WhichOneof("parameter_choice")
        if name.startswith("triton_") and name not in _KINDS:
            raise InvalidTensorError(field, f"parameter '{name}' is not supported")
        if name in _KINDS and kind not in _KINDS[name]:
            text = f"parameter '{name}' must be {' or '.join(_KINDS[name])}, got {kind}"
            raise InvalidTensorError(field, text)


def _timeout_seconds(request: ModelInferRequest) -> float | None:
    """On the wire it is in microseconds, 0 for none."""
    microseconds = _not_negative(request, "timeout")
    return microseconds / 1e6 if microseconds else None


def _step(request: ModelInferRequest) -> Step | None:
    """The id 0, or an empty one, stands for none."""
    given = request.parameters
    if "sequence_id" not in given:
        return None
    kind = given["sequence_id"].WhichOneof("parameter_choice")
    key = given["sequence_id"].string_param if kind == "string_param" else _integer(given["sequence_id"])
    start, end = ("sequence_" + word in given and given["sequence_" + word].bool_param for word in ("start", "end"))
    return Step(key, start, end, any_version=not request.model_version) if key else None


def _not_negative(request: ModelInferRequest, name: str) -> int:
    """The value of a parameter; 0 where it is not there."""
    if name not in request.parameters:
        return 0
    value = _integer(request.parameters[name])
    if value < 0:
        raise InvalidTensorError(f"parameters[{name}]", f"parameter '{name}' is {value}; send a positive number")
    return value


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
